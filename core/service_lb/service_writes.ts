// Every write to the API for a Service, one function each. No decisions here; what to write comes from the pure files.
// The status is written by server-side apply, so that taking it back removes exactly what was written here.
import type { KubeClient } from "../kube/contract.ts";
import { identityOf, removeObject } from "../kube/one_object.ts";
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  DAEMON_SETS,
  ROLE_BINDINGS,
  ROLES,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../kube/resources.ts";
import type { Condition, DaemonSet, Service } from "../kube/types.ts";
import type { IngressAddress } from "./status/desired_status.ts";
import { LAST_GOOD_ANNOTATION, OLD_SERVICE_FINALIZER, SERVICE_FINALIZER } from "../service/labels.ts";
import type { Prerequisites } from "./groundwork/prerequisites.ts";

/** What every write takes. */
export interface WriteContext {
  readonly client: KubeClient;
  readonly signal: AbortSignal;
}

/** The finalizers of `service` while it is served, or once it is not; `undefined` if they are so already. */
export function finalizersFor(service: Service, served: boolean): readonly string[] | undefined {
  const present = service.metadata?.finalizers ?? [];
  const others = present.filter((name) => name !== SERVICE_FINALIZER && name !== OLD_SERVICE_FINALIZER);
  const wanted = served ? [...others, SERVICE_FINALIZER] : others;
  return sameMembers(present, wanted) ? undefined : wanted;
}

/**
 * Sets the finalizers; on condition that the Service is unchanged, as the whole list is written.
 *
 * @throws {K3slbError} code "kube-conflict" if the Service has changed
 */
export async function writeFinalizers(
  context: WriteContext,
  options: { readonly service: Service; readonly finalizers: readonly string[] },
): Promise<Service> {
  const { name = "", namespace = "", resourceVersion, uid } = options.service.metadata ?? {};
  const body = { metadata: { resourceVersion, uid, finalizers: options.finalizers } };
  return await context.client.patch(SERVICES, { namespace, name }, { type: "merge", body }, { signal: context.signal });
}

/** Writes the record of last good texts, or takes it away. */
export async function writeRecord(
  context: WriteContext,
  options: { readonly service: Service; readonly record: string | undefined },
): Promise<Service> {
  const { name = "", namespace = "", uid } = options.service.metadata ?? {};
  const body = { metadata: { uid, annotations: { [LAST_GOOD_ANNOTATION]: options.record ?? null } } };
  return await context.client.patch(SERVICES, { namespace, name }, { type: "merge", body }, { signal: context.signal });
}

/** Applies the DaemonSet whole. */
export async function applyDaemonSet(context: WriteContext, daemonSet: DaemonSet): Promise<DaemonSet> {
  return await context.client.apply(DAEMON_SETS, daemonSet, { signal: context.signal });
}

/** Deletes this very DaemonSet; says whether it was still there. */
export async function deleteDaemonSet({ client, signal }: WriteContext, daemonSet: DaemonSet): Promise<boolean> {
  return await removeObject(client, DAEMON_SETS, { ...identityOf(daemonSet), signal });
}

/** What is written into a Service's status. */
export interface StatusWrite {
  readonly ingress: readonly IngressAddress[];
  readonly condition: Condition;
}

/**
 * Writes addresses and condition in one request; `undefined` takes back what was written before.
 *
 * @param options.isHeld The same request sets the finalizer, or leaves it there: what is applied without it takes back one that was applied.
 */
export async function writeStatus(
  context: WriteContext,
  options: { readonly service: Service; readonly status: StatusWrite | undefined; readonly isHeld?: boolean },
): Promise<Service> {
  const { name = "", namespace = "", uid } = options.service.metadata ?? {};
  const { status, isHeld = false } = options;
  const body = {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace,
      ...(uid === undefined ? {} : { uid }),
      ...(isHeld ? { finalizers: [SERVICE_FINALIZER] } : {}),
    },
    // An empty list is written as such: leaving it out would keep addresses that another program wrote for this Service.
    ...(status === undefined
      ? {}
      : { status: { loadBalancer: { ingress: [...status.ingress] }, conditions: [status.condition] } }),
  };
  return await context.client.apply(SERVICES, body as Service, { subresource: "status", signal: context.signal });
}

/** Applies what is there once per cluster. */
export async function applyPrerequisites(context: WriteContext, objects: Prerequisites): Promise<void> {
  const { client, signal } = context;
  await client.apply(SERVICE_ACCOUNTS, objects.serviceAccount, { signal });
  if (objects.nodeRights === undefined) return;
  const { endpointReader, factsReader } = objects.nodeRights;
  await client.apply(CLUSTER_ROLES, endpointReader.role, { signal });
  await client.apply(CLUSTER_ROLE_BINDINGS, endpointReader.binding, { signal });
  await client.apply(ROLES, factsReader.role, { signal });
  await client.apply(ROLE_BINDINGS, factsReader.binding, { signal });
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  // A Service may have a hundred thousand.
  const members = new Set(b);
  return a.length === b.length && a.every((name) => members.has(name));
}
