// etcd is put back to an earlier state under running programs: they follow, although all that they know has higher versions, and what
// was made of files after the backup is made again.
import { CONFIG_MAPS, LEASES, SERVICES } from "../../core/kube/resources.ts";
import { ELECTION_LEASE_NAME } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { worldSuite } from "../support/world_suite.ts";
import { ServerFolder } from "./server_folder.ts";

const REAL_ONLY = { only: { kind: "real", reason: "only the real control plane has an etcd to restore" } } as const;
/** A restore shows when the Lease is renewed; then a new term begins. */
const NEXT_TERM_MS = 30_000;

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0 });

  test("server and agents follow a restore of etcd without a restart", async ({ world, ns }) => {
    const folder = new ServerFolder(world);
    const [changed, deleted, made, later] = [world.port(), world.port(), world.port(), world.port()];
    const ip = world.node("node2").ip4;
    const answers = (port: number): Promise<unknown> =>
      world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
    const refuses = (port: number): Promise<unknown> =>
      world.waitForAnswer(world.client, { protocol: "tcp", ip, port }, ({ outcome }) => outcome === "refused");
    const manifest = (name: string): string =>
      `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${name}", "namespace": "${ns.name}"}}`;
    try {
      await folder.start("--disable=coredns,traefik");
      await ns.createApp({ name: "web", nodes: ["node1"] });
      await ns.createService({ name: "changed", app: "web", ports: [changed] });
      await ns.createService({ name: "deleted", app: "web", ports: [deleted] });
      await ns.waitForIngress("changed", world.nodeIps);
      await ns.waitForIngress("deleted", world.nodeIps);
      folder.write("before.yaml", manifest("before"));
      await folder.waitForObject(CONFIG_MAPS, { namespace: ns.name, name: "before" });

      const renewTime = async (): Promise<unknown> =>
        (await world.admin.get(LEASES, { namespace: "kube-system", name: ELECTION_LEASE_NAME })).spec?.renewTime;
      const renewedBefore = await renewTime();
      const restore = await world.api.backUp();
      await world.admin.patch(SERVICES, { namespace: ns.name, name: "changed" }, {
        type: "merge",
        body: { spec: { ports: [{ port: later, targetPort: 8080, protocol: "TCP" }] } },
      });
      await world.admin.delete(SERVICES, { namespace: ns.name, name: "deleted" });
      await ns.createService({ name: "made", app: "web", ports: [made] });
      await Promise.all([answers(later), answers(made), refuses(changed), refuses(deleted)]);
      folder.write("after.yaml", manifest("after"));
      await folder.waitForObject(CONFIG_MAPS, { namespace: ns.name, name: "after" });

      // A backup is older than a Lease: that is how a server knows that the cluster is not what it was.
      await waitUntil("the Lease to be renewed after the backup", async () => await renewTime() !== renewedBefore);
      await restore();
      await Promise.all([answers(changed), answers(deleted), refuses(later), refuses(made)]);
      await ns.waitForIngress("changed", world.nodeIps, NEXT_TERM_MS);
      await ns.waitForIngress("deleted", world.nodeIps, NEXT_TERM_MS);
      await folder.waitForObject(CONFIG_MAPS, { namespace: ns.name, name: "after" });
      await ns.createService({ name: "new", app: "web", ports: [made] });
      await ns.waitForIngress("new", world.nodeIps);
      await answers(made);
    } finally {
      await folder.remove();
    }
  }, REAL_ONLY);
}
