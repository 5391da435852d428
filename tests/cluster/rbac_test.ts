// The shipped roles are enough and no more than that: a server that has no other rights serves Services, elects itself and is refused
// nothing, and by the audit log of the real API server each verb that a role grants was used. So it is for the agents' own role.
import { deepEqual, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, DAEMON_SETS, ROLES, SERVICES } from "../../core/kube/resources.ts";
import type { ResourceType } from "../../core/kube/contract.ts";
import type { DaemonSet } from "../../core/kube/types.ts";
import {
  DATAPLANE_LABEL,
  ENDPOINT_READER_ROLE,
  FACTS_READER_ROLE,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../core/service/labels.ts";
import { parseYamlDocuments } from "../../core/shared/yaml.ts";
import type { ApiRequest } from "../support/control_plane_audit.ts";
import { type Grant, grantsOf, type RbacObject, unusedGrants } from "../support/rbac_grants.ts";
import { enterWorld } from "../support/netns.ts";
import type { Program } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { worldSuite } from "../support/world_suite.ts";

const RBAC = { group: "rbac.authorization.k8s.io", version: "v1" };
const RBAC_TYPES: Readonly<Record<string, ResourceType<RbacObject>>> = {
  Role: { ...RBAC, kind: "Role", plural: "roles", namespaced: true },
  RoleBinding: { ...RBAC, kind: "RoleBinding", plural: "rolebindings", namespaced: true },
  ClusterRole: CLUSTER_ROLES as ResourceType<RbacObject>,
  ClusterRoleBinding: CLUSTER_ROLE_BINDINGS as ResourceType<RbacObject>,
};

function shippedObjects(): readonly RbacObject[] {
  const text = readFileSync(new URL("../../deploy/rbac.yaml", import.meta.url), "utf8");
  return parseYamlDocuments(text).map(({ value }) => value as RbacObject).filter(({ kind = "" }) => kind in RBAC_TYPES);
}

/** Applies the shipped manifest for the user that the test's servers are. */
async function grantShippedRoles(world: World): Promise<void> {
  for (const object of shippedObjects()) {
    const type = RBAC_TYPES[object.kind ?? ""];
    if (type === undefined) continue;
    const subjects = [{ apiGroup: RBAC.group, kind: "User", name: SERVER_USER }];
    await world.admin.apply(type, object.subjects === undefined ? object : { ...object, subjects });
  }
}

/** Read only where a DaemonSet's pods can't be made, which is tried elsewhere. */
function isForTrouble({ resource, verb }: Grant): boolean {
  return resource === "events" && verb === "list";
}

function isOurs({ userAgent }: ApiRequest): boolean {
  return userAgent.startsWith("k3slb/");
}

/** Somebody edits a DaemonSet, and the server puts it right. */
async function repairedEdit(world: World, ns: TestNamespace): Promise<void> {
  const labelSelector = `${SERVICE_NAME_LABEL}=echo,${SERVICE_NAMESPACE_LABEL}=${ns.name}`;
  const find = async (): Promise<DaemonSet> => {
    const { items: [daemonSet] } = await world.admin.list(DAEMON_SETS, { namespace: "kube-system", labelSelector });
    ok(daemonSet);
    return daemonSet;
  };
  const { metadata } = await ns.daemonSet("echo");
  const key = { namespace: "kube-system", name: metadata?.name ?? "" };
  const body = { metadata: { labels: { [DATAPLANE_LABEL]: "edited" } } };
  await world.admin.patch(DAEMON_SETS, key, { type: "merge", body });
  await waitUntil(
    "the DaemonSet to be as before",
    async () => (await find()).metadata?.labels?.[DATAPLANE_LABEL] === "agent",
    { explain: () => Promise.resolve(world.logs()) },
  );
}

/** What a load balancer's life has: Services of both policies, a change of type, of nodes, of an endpoint's node, a deletion. */
async function liveThrough(world: World, ns: TestNamespace): Promise<Program> {
  const server = await world.startServer(["--disable", "coredns,traefik,helm"]);
  await ns.createApp({ name: "echo", nodes: ["node1"] });
  await ns.createService({ name: "echo", ports: [world.port()] });
  await ns.createService({
    name: "local",
    app: "echo",
    ports: [world.port()],
    spec: { externalTrafficPolicy: "Local" },
  });
  await ns.createService({ name: "typed", app: "echo", ports: [world.port()] });
  await ns.waitForIngress("echo", world.nodeIps);
  await ns.waitForIngress("typed", world.nodeIps);
  await ns.waitForIngress("local", [world.node("node1").ip4]);
  await world.admin.patch(SERVICES, { namespace: ns.name, name: "typed" }, {
    type: "merge",
    body: { spec: { type: "ClusterIP" } },
  });
  await waitUntil("the Service of another type to be released", async () => {
    const { metadata } = await world.admin.get(SERVICES, { namespace: ns.name, name: "typed" });
    return (metadata?.finalizers ?? []).length === 0;
  }, { explain: () => Promise.resolve(world.logs()) });
  await ns.deleteService("local");
  // The same Event for the second time is counted, not made anew.
  for (let time = 0; time < 2; time++) await repairedEdit(world, ns);
  return server;
}

/** The last of its life: all that the load balancer made is taken back. */
async function takeBack(world: World, ns: TestNamespace): Promise<void> {
  const server = await world.startServer(["--disable", "coredns,traefik,helm,servicelb"]);
  const explain = (): Promise<string> => Promise.resolve(world.logs());
  await waitUntil("the DaemonSets to go", async () => (await ns.daemonSets("echo")).length === 0, { explain });
  // The last of what is taken back.
  await waitUntil("the nodes' rights to be taken back", async () => {
    const roles = [...(await world.admin.list(CLUSTER_ROLES)).items, ...(await world.admin.list(ROLES)).items];
    return !roles.some(({ metadata }) => [ENDPOINT_READER_ROLE, FACTS_READER_ROLE].includes(metadata?.name ?? ""));
  }, { explain });
  await server.stop();
  ok(!/forbidden/i.test(server.logTail(1_000_000)), server.logTail());
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, serverGroups: ["k3slb-test"] });

  test("with the shipped roles alone Services are served, no verb is missing and none is granted in vain", async ({ world, ns }) => {
    await grantShippedRoles(world);
    for (const node of world.nodes) await node.stopAgent();
    // The log is the real server's; the in-memory one refuses by the same rules.
    const audited = world.kind === "real" ? world.api.audit() : undefined;
    const [server] = await Promise.all([liveThrough(world, ns), ...world.nodes.map((node) => node.startAgent())]);
    await server.stop();
    const reader = await world.admin.get(CLUSTER_ROLES, { name: ENDPOINT_READER_ROLE }) as RbacObject;
    const factsKey = { namespace: "kube-system", name: FACTS_READER_ROLE };
    const factsReader = await world.admin.get(ROLES, factsKey) as RbacObject;
    await takeBack(world, ns);
    const refusals = server.logTail(1_000_000).split("\n").filter((line) => /forbidden|not allowed/i.test(line));
    deepEqual(refusals, [], refusals.join("\n"));
    if (audited === undefined) return;

    const requests = audited().filter(isOurs);
    const ofServer = requests.filter(({ user }) => user === SERVER_USER);
    const ofAgents = requests.filter(({ user }) => user.startsWith("system:node:"));
    ok(ofServer.length > 0 && ofAgents.length > 0, "the audit log is empty");
    // Without Helm it asks once for charts to hand back; who may not ask has made none.
    const refused = ofServer.filter(({ code, resource }) => code === 403 && resource !== "helmcharts");
    deepEqual(refused.map(({ verb, uri }) => `${verb} ${uri}`), []);
    const granted = shippedObjects().flatMap(grantsOf).filter((grant) => !isForTrouble(grant));
    deepEqual(unusedGrants(granted, ofServer), []);
    deepEqual(unusedGrants(grantsOf({ ...reader, kind: "ClusterRole" }), ofAgents), []);
    deepEqual(unusedGrants(grantsOf({ ...factsReader, kind: "Role" }), ofAgents), []);
  });
}
