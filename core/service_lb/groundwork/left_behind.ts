// What no watch tells of because it happened while no server ran: Services that stopped being of type LoadBalancer, and what stands in a
// namespace that servers no longer use. Looked for once by each active server. Adapter.
import type { ObjectKey, ResourceType } from "../../kube/contract.ts";
import { isForbidden } from "../../kube/errors.ts";
import { findObject, orUnreadable, removeObject } from "../../kube/one_object.ts";
import { CONFIG_MAPS, DAEMON_SETS, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, SERVICES } from "../../kube/resources.ts";
import type { KubeObject, Node, Service } from "../../kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../service/cluster_facts.ts";
import { nodeReport } from "../../service/node_report.ts";
import type { Logger } from "../../shared/log.ts";
import { DATAPLANE_LABEL, FACTS_READER_ROLE, MANAGED_BY_LABEL, POD_SERVICE_ACCOUNT } from "../../service/labels.ts";
import { objectKey, type ServiceKey } from "../../service/keys.ts";
import { isMarked } from "../own_marks.ts";
import { nameList } from "../../shared/name_list.ts";
import { deleteDaemonSet, type WriteContext } from "../service_writes.ts";

/** Where servers are now, and where what can't be removed is told. */
export interface StrayOptions {
  readonly namespace: string;
  readonly logger: Logger;
}

/** Services of another type that still carry what was written for a load balancer. They stay undeletable until it is taken back. */
export async function findFormerServices({ client, signal }: WriteContext): Promise<readonly ServiceKey[]> {
  const found: ServiceKey[] = [];
  await client.list(SERVICES, {
    fieldSelector: "spec.type!=LoadBalancer",
    signal,
    each: (service: Service) => {
      if (isMarked(service)) found.push(objectKey(service));
    },
  });
  return found;
}

/** Deletes own DaemonSets outside `namespace`: their pods hold the ports that those in `namespace` wait for. Returns how many. */
export async function deleteStrayDaemonSets(
  { client, signal }: WriteContext,
  { namespace, logger }: StrayOptions,
): Promise<number> {
  const { items } = await client.list(DAEMON_SETS, { labelSelector: DATAPLANE_LABEL, signal });
  let deleted = 0;
  for (const daemonSet of items) {
    if (daemonSet.metadata?.namespace === namespace) continue;
    const about = { daemonSet: objectKey(daemonSet) };
    try {
      if (!await deleteDaemonSet({ client, signal }, daemonSet)) continue;
      logger.info("Deleted a DaemonSet in a namespace that is no longer used", about);
      deleted++;
    } catch (error) {
      // The shipped roles let a server delete in its own namespace only.
      if (!isForbidden(error)) throw error;
      logger.warn("A DaemonSet in a namespace that is no longer used holds ports; delete it", about);
    }
  }
  return deleted;
}

/**
 * Deletes what was published for agents outside `namespace`, with the rights to read it. While the agents of any of `nodes` still go by it, it stays,
 * as without it they would serve nothing; returns that, for people.
 */
export async function deleteStrayFacts(
  context: WriteContext,
  { namespace, logger, nodes }: StrayOptions & { readonly nodes: Iterable<Node> },
): Promise<string | undefined> {
  const strays = (await namespacesWithFacts(context)).filter((stray) => stray !== namespace);
  const readers = strays.length === 0 ? [] : [...nodes].filter((node) => {
    const report = nodeReport(node);
    return report !== undefined && report.namespace !== namespace;
  });
  if (readers.length > 0) {
    const names = nameList(readers.map(({ metadata }) => metadata?.name ?? ""));
    return `agents still go by it: ${names}; start every agent with --servicelb-namespace=${namespace}`;
  }
  for (const stray of strays) {
    try {
      await deleteFacts(context, stray);
      logger.info("Deleted what agents decided by in a namespace that is no longer used", { namespace: stray });
    } catch (error) {
      if (!isForbidden(error)) throw error;
      logger.warn("What agents decided by in a namespace that is no longer used is left there; delete it", {
        configMap: `${stray}/${FACTS_CONFIG_MAP}`,
        role: FACTS_READER_ROLE,
      });
    }
  }
  return undefined;
}

/** Namespaces in which something is published for agents; none if that may not be looked for. */
async function namespacesWithFacts({ client, signal }: WriteContext): Promise<readonly string[]> {
  const fieldSelector = `metadata.name=${FACTS_CONFIG_MAP}`;
  // Roles of an earlier version forbid it.
  const found = await orUnreadable(client.list(CONFIG_MAPS, { fieldSelector, signal }));
  return (found?.items ?? []).filter(isOurs).map(({ metadata }) => metadata?.namespace ?? "");
}

/** Deletes what is published for agents in `namespace`, the rights to read it, and the pods' ServiceAccount: the ConfigMap last, by which all is found. */
export async function deleteFacts(context: WriteContext, namespace: string): Promise<void> {
  await deleteOwn(context, SERVICE_ACCOUNTS, { namespace, name: POD_SERVICE_ACCOUNT });
  await deleteOwn(context, ROLE_BINDINGS, { namespace, name: FACTS_READER_ROLE });
  await deleteOwn(context, ROLES, { namespace, name: FACTS_READER_ROLE });
  await deleteOwn(context, CONFIG_MAPS, { namespace, name: FACTS_CONFIG_MAP });
}

/** Something of the same name that another program made stays. */
export async function deleteOwn(
  { client, signal }: WriteContext,
  type: ResourceType<KubeObject>,
  key: ObjectKey,
): Promise<void> {
  const found = await findObject(client, type, { key, signal });
  if (found !== undefined && isOurs(found)) await removeObject(client, type, { key, signal });
}

function isOurs({ metadata }: KubeObject): boolean {
  return metadata?.labels?.[MANAGED_BY_LABEL] === "k3slb";
}
