// One way to a cluster for every command that asks a question: the server's kubeconfig in the server's order, then kubectl's own, short
// patience.
import { join } from "node:path";
import { createKubeClient } from "../../core/kube/client.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { loadKubeconfig } from "../../core/kube/access/kubeconfig.ts";
import { SERVER_KUBECONFIG_PATHS } from "../../core/kube/access/kubeconfig_paths.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { buildInfo } from "../build_info.ts";
import type { CommandContext } from "../command.ts";

/**
 * Runs `body` with a client with an administrator's credentials, or those that were given, which is closed at its end.
 * With `asServer` only the server's places are looked at: for what must not go to whatever cluster somebody's kubectl is set to.
 * @throws {K3slbError} if no kubeconfig can be used
 */
export async function withCluster<T>(
  settings: { readonly kubeconfig: string | undefined; readonly asServer?: boolean },
  { host }: CommandContext,
  body: (client: KubeClient) => Promise<T>,
): Promise<T> {
  const access = await loadKubeconfig({
    path: settings.kubeconfig,
    env: host.env,
    defaultPaths: settings.asServer === true ? SERVER_KUBECONFIG_PATHS : askingKubeconfigPaths(host.env),
    clock: SYSTEM_CLOCK,
  });
  const client = createKubeClient({
    access,
    clock: SYSTEM_CLOCK,
    userAgent: `k3slb/${buildInfo().version} command`,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  try {
    return await body(client);
  } finally {
    client.close();
  }
}

/** Where somebody who asks may have a kubeconfig: on a node of the cluster, else on the machine that kubectl is used on. */
export function askingKubeconfigPaths(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const home = env["HOME"] ?? "";
  return home === "" ? SERVER_KUBECONFIG_PATHS : [...SERVER_KUBECONFIG_PATHS, join(home, ".kube", "config")];
}

/** Somebody waits at a terminal. */
const CONNECT_TIMEOUT_MS = 5_000;
