// A client of a test cluster from a kubeconfig file.
import { createKubeClient } from "../../core/kube/client.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { loadKubeconfig } from "../../core/kube/access/kubeconfig.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";

/** A client with the credentials in `kubeconfig` and nothing of this process's environment. */
export async function openTestClient(kubeconfig: string, userAgent: string): Promise<KubeClient> {
  const access = await loadKubeconfig({ path: kubeconfig, env: {}, defaultPaths: [], clock: SYSTEM_CLOCK });
  return createKubeClient({ access, clock: SYSTEM_CLOCK, userAgent });
}
