// The shipped roles are enough: a server that has no other rights serves Services, elects itself and is refused nothing.
import { deepEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES } from "../../core/kube/resources.ts";
import type { ClusterRole, ClusterRoleBinding } from "../../core/kube/types.ts";
import { parseYamlDocuments } from "../../core/shared/yaml.ts";
import { enterWorld } from "../support/netns.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";

/** Applies the shipped manifest for the user that the test's servers are. */
async function grantShippedRoles(world: World): Promise<void> {
  const text = readFileSync(new URL("../../deploy/rbac.yaml", import.meta.url), "utf8");
  for (const { value } of parseYamlDocuments(text)) {
    const object = value as ClusterRole | ClusterRoleBinding;
    if (object.kind === "ClusterRole") await world.admin.apply(CLUSTER_ROLES, object as ClusterRole);
    if (object.kind === "ClusterRoleBinding") {
      const subjects = [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: SERVER_USER }];
      await world.admin.apply(CLUSTER_ROLE_BINDINGS, { ...object as ClusterRoleBinding, subjects });
    }
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, serverGroups: ["k3slb-test"] });

  test("a server with the shipped role and no more serves Services and is refused nothing", async ({ world, ns }) => {
    await grantShippedRoles(world);
    const server = await world.startServer(["--disable", "coredns,traefik,helm"]);
    await ns.createApp({ name: "echo", nodes: ["node1"] });
    await ns.createService({ name: "echo", ports: [world.port()] });
    await ns.createService({
      name: "local",
      app: "echo",
      ports: [world.port()],
      spec: { externalTrafficPolicy: "Local" },
    });
    await ns.waitForIngress("echo", world.nodeIps);
    await ns.waitForIngress("local", [world.node("node1").ip4]);
    await ns.deleteService("local");
    await server.stop();
    const refusals = server.logTail(100_000).split("\n").filter((line) => /forbidden|not allowed/i.test(line));
    deepEqual(refusals, [], refusals.join("\n"));
  });
}
