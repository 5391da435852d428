// Access to a test cluster from the text of a kubeconfig.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterAccess } from "../../../../core/kube/access/cluster_access.ts";
import { loadKubeconfig } from "../../../../core/kube/access/kubeconfig.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";

/** The access that `text` describes. Its credentials must be inside it. */
export async function parseKubeconfigText(text: string): Promise<ClusterAccess> {
  const dir = mkdtempSync(join(tmpdir(), "k3slb-kubeconfig-"));
  try {
    const path = join(dir, "config");
    writeFileSync(path, text);
    return await loadKubeconfig({ path, env: {}, defaultPaths: [], clock: SYSTEM_CLOCK });
  } finally {
    rmSync(dir, { recursive: true });
  }
}
