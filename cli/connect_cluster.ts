// One way to a cluster for every command that asks a question: the server's kubeconfig in the server's order, short patience.
import { createKubeClient } from "../core/kube/client.ts";
import type { KubeClient } from "../core/kube/contract.ts";
import { loadKubeconfig } from "../core/kube/kubeconfig.ts";
import { SERVER_KUBECONFIG_PATHS } from "../core/kube/kubeconfig_paths.ts";
import { SYSTEM_CLOCK } from "../core/runtime/clock.ts";
import { buildInfo } from "./build_info.ts";
import type { CommandContext } from "./command.ts";

/**
 * A client with an administrator's credentials, or those that were given.
 * @throws {K3slbError} if no kubeconfig can be used
 */
export async function connectCluster(
  settings: { readonly kubeconfig: string | undefined },
  { host }: CommandContext,
): Promise<KubeClient> {
  const access = await loadKubeconfig({
    ...(settings.kubeconfig === undefined ? {} : { path: settings.kubeconfig }),
    env: host.env,
    defaultPaths: SERVER_KUBECONFIG_PATHS,
    clock: SYSTEM_CLOCK,
  });
  return createKubeClient({
    access,
    clock: SYSTEM_CLOCK,
    userAgent: `k3slb/${buildInfo().version} command`,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
}

/** Somebody waits at a terminal. */
const CONNECT_TIMEOUT_MS = 5_000;
