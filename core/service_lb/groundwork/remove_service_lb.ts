// Takes the load balancer out of the cluster (`--disable servicelb`, uninstall): what this program made, and nothing else.
import type { KubeClient } from "../../kube/contract.ts";
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, DAEMON_SETS, SERVICES } from "../../kube/resources.ts";
import type { Service } from "../../kube/types.ts";
import type { Logger } from "../../shared/log.ts";
import { FACTS_CONFIG_MAP } from "../../service/cluster_facts.ts";
import { DATAPLANE_LABEL, ENDPOINT_READER_ROLE } from "../../service/labels.ts";
import { objectKey, servedServiceKey } from "../../service/keys.ts";
import { deleteFacts, deleteOwn, deleteStrayDaemonSets, deleteStrayFacts } from "./left_behind.ts";
import { isMarked, servedCondition } from "../own_marks.ts";
import { deleteDaemonSet, finalizersFor, writeFinalizers, writeStatus } from "../service_writes.ts";

/** What {@linkcode removeServiceLb} takes. */
export interface RemoveServiceLbOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** How much was taken back. */
export interface RemovedServiceLb {
  readonly daemonSets: number;
  readonly services: number;
}

/**
 * Removes DaemonSets, finalizers, addresses, conditions, what was published, ServiceAccount and roles, also in namespaces that were used before.
 * Safe to call twice.
 */
export async function removeServiceLb(options: RemoveServiceLbOptions): Promise<RemovedServiceLb> {
  const { client, namespace, logger, signal } = options;
  // First, so that no agent serves on by itself.
  await removeFacts(options);
  await deleteStrayFacts(options, { namespace, logger, nodes: [] });
  const sets = await client.list(DAEMON_SETS, { namespace, labelSelector: DATAPLANE_LABEL, signal });
  const served = new Set(sets.items.map(servedServiceKey));
  // Of every type: one that stopped being a load balancer while no server ran still carries what was written.
  const services: Service[] = [];
  await client.list(SERVICES, {
    signal,
    each: (service: Service) => {
      if (isMarked(service) || served.has(objectKey(service))) services.push(service);
    },
  });
  for (const daemonSet of sets.items) await deleteDaemonSet(options, daemonSet);
  const strays = await deleteStrayDaemonSets(options, { namespace, logger });
  for (const service of services) {
    const condition = servedCondition(service);
    const finalizers = finalizersFor(service, false);
    if (finalizers !== undefined) await writeFinalizers(options, { service, finalizers });
    if (condition !== undefined && !service.metadata?.deletionTimestamp) {
      await writeStatus(options, { service, status: undefined });
    }
  }
  await deleteOwn(options, CLUSTER_ROLE_BINDINGS, { name: ENDPOINT_READER_ROLE });
  await deleteOwn(options, CLUSTER_ROLES, { name: ENDPOINT_READER_ROLE });
  await deleteFacts(options, namespace);
  const removed = { daemonSets: sets.items.length + strays, services: services.length };
  if (removed.daemonSets > 0 || removed.services > 0) logger.info("Removed the load balancer", { ...removed });
  return removed;
}

/** Takes back what is published for agents: pods decide again. */
export async function removeFacts(
  options: Pick<RemoveServiceLbOptions, "client" | "namespace" | "signal">,
): Promise<void> {
  await deleteOwn(options, CONFIG_MAPS, { namespace: options.namespace, name: FACTS_CONFIG_MAP });
}
