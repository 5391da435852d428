// Takes the load balancer out of the cluster (`--disable servicelb`, uninstall): what this program made, and nothing else.
import type { KubeClient, ObjectKey, ResourceType } from "../../kube/contract.ts";
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  CONFIG_MAPS,
  DAEMON_SETS,
  ROLE_BINDINGS,
  ROLES,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../kube/resources.ts";
import { findObject, removeObject } from "../../kube/one_object.ts";
import type { KubeObject, Service } from "../../kube/types.ts";
import type { Logger } from "../../shared/log.ts";
import { FACTS_CONFIG_MAP } from "../../service/cluster_facts.ts";
import { DATAPLANE_LABEL, ENDPOINT_READER_ROLE, FACTS_READER_ROLE, POD_SERVICE_ACCOUNT } from "../../service/labels.ts";
import { objectKey, servedServiceKey } from "../../service/keys.ts";
import { MANAGED_BY_LABEL } from "./prerequisites.ts";
import { servedCondition } from "../reconcile_context.ts";
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

/** Removes DaemonSets, finalizers, addresses, conditions, what was published, ServiceAccount and roles. Safe to call twice. */
export async function removeServiceLb(options: RemoveServiceLbOptions): Promise<RemovedServiceLb> {
  const { client, namespace, logger, signal } = options;
  // First, so that no agent serves on by itself.
  await removeFacts(options);
  const sets = await client.list(DAEMON_SETS, { namespace, labelSelector: DATAPLANE_LABEL, signal });
  const served = new Set(sets.items.map(servedServiceKey));
  // Of every type: one that stopped being a load balancer while no server ran still carries what was written.
  const services: Service[] = [];
  await client.list(SERVICES, {
    signal,
    each: (service: Service) => {
      if (servedCondition(service) !== undefined || served.has(objectKey(service))) services.push(service);
    },
  });
  for (const daemonSet of sets.items) await deleteDaemonSet(options, daemonSet);
  for (const service of services) {
    const condition = servedCondition(service);
    const finalizers = finalizersFor(service, false);
    if (finalizers !== undefined) await writeFinalizers(options, { service, finalizers });
    if (condition !== undefined && !service.metadata?.deletionTimestamp) {
      await writeStatus(options, { service, status: undefined });
    }
  }
  await deleteOwn(options, SERVICE_ACCOUNTS, { namespace, name: POD_SERVICE_ACCOUNT });
  await deleteOwn(options, CLUSTER_ROLE_BINDINGS, { name: ENDPOINT_READER_ROLE });
  await deleteOwn(options, CLUSTER_ROLES, { name: ENDPOINT_READER_ROLE });
  await deleteOwn(options, ROLE_BINDINGS, { namespace, name: FACTS_READER_ROLE });
  await deleteOwn(options, ROLES, { namespace, name: FACTS_READER_ROLE });
  if (sets.items.length > 0 || services.length > 0) {
    logger.info("Removed the load balancer", { daemonSets: sets.items.length, services: services.length });
  }
  return { daemonSets: sets.items.length, services: services.length };
}

/** Takes back what is published for agents: pods decide again. */
export async function removeFacts(
  options: Pick<RemoveServiceLbOptions, "client" | "namespace" | "signal">,
): Promise<void> {
  await deleteOwn(options, CONFIG_MAPS, { namespace: options.namespace, name: FACTS_CONFIG_MAP });
}

/** Something of the same name that another program made stays. */
async function deleteOwn(
  options: Pick<RemoveServiceLbOptions, "client" | "signal">,
  type: ResourceType<KubeObject>,
  key: ObjectKey,
): Promise<void> {
  const { client, signal } = options;
  const found = await findObject(client, type, { key, signal });
  if (found?.metadata?.labels?.[MANAGED_BY_LABEL] === "k3slb") {
    await removeObject(client, type, { key, signal });
  }
}
