// What no watch tells of because it happened while no server ran: Services that stopped being of type LoadBalancer, and DaemonSets
// in a namespace that servers no longer use. Looked for once by each active server. Adapter.
import { isForbidden } from "../../kube/errors.ts";
import { DAEMON_SETS, SERVICES } from "../../kube/resources.ts";
import type { Service } from "../../kube/types.ts";
import type { Logger } from "../../shared/log.ts";
import { DATAPLANE_LABEL } from "../../service/labels.ts";
import { objectKey, type ServiceKey } from "../../service/keys.ts";
import { servedCondition } from "../reconcile_context.ts";
import { deleteDaemonSet, type WriteContext } from "../service_writes.ts";

/** Services of another type that still carry what was written for a load balancer. They stay undeletable until it is taken back. */
export async function findFormerServices({ client, signal }: WriteContext): Promise<readonly ServiceKey[]> {
  const found: ServiceKey[] = [];
  await client.list(SERVICES, {
    fieldSelector: "spec.type!=LoadBalancer",
    signal,
    each: (service: Service) => {
      if (servedCondition(service) !== undefined) found.push(objectKey(service));
    },
  });
  return found;
}

/** Deletes own DaemonSets outside `namespace`: their pods hold the ports that those in `namespace` wait for. */
export async function deleteStrayDaemonSets(
  { client, signal }: WriteContext,
  options: { readonly namespace: string; readonly logger: Logger },
): Promise<void> {
  const { items } = await client.list(DAEMON_SETS, { labelSelector: DATAPLANE_LABEL, signal });
  for (const daemonSet of items) {
    if (daemonSet.metadata?.namespace === options.namespace) continue;
    const about = { daemonSet: objectKey(daemonSet) };
    try {
      if (await deleteDaemonSet({ client, signal }, daemonSet)) {
        options.logger.info("Deleted a DaemonSet in a namespace that is no longer used", about);
      }
    } catch (error) {
      // The shipped roles let a server delete in its own namespace only.
      if (!isForbidden(error)) throw error;
      options.logger.warn("A DaemonSet in a namespace that is no longer used holds ports; delete it", about);
    }
  }
}
