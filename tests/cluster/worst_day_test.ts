// A tenant's worst day: all that he may try at once (worst_day_attack.ts), as fast as he can, beside an honest Service of somebody else. What
// counts is the honest one: its first answer, a change of its endpoints, its status, and the Lease.
// `deno task bench worst-day` times it for longer.
import assert from "node:assert/strict";
import { SERVICES } from "../../core/kube/resources.ts";
import { visibleText } from "../../core/shared/visible_text.ts";
import { hangingWebhook } from "../support/hanging_webhook.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { worldKind } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";
import {
  arrangeWorstDay,
  beside,
  holder,
  keepsLease,
  liveWorstDay,
  medianLife,
  timeAgain,
  type WorstDay,
} from "./worst_day_times.ts";

/** For how long the attack goes on. In memory it is no measurement. */
const ATTACK_MS = worldKind() === "memory" ? 12_000 : 40_000;
/** For how long what is usual is timed, each time. */
const USUAL_MS = worldKind() === "memory" ? 6_000 : 15_000;
/** The in-memory API server is part of this process, and other files run beside this one. */
const ALLOWANCE_MS = worldKind() === "memory" ? 1_000 : 0;
/** What the short spans say near the line is noise on a slow machine: these decide. */
const LONG_SPANS = { usualMs: 60_000, attackMs: 120_000 };

/** What takes more than twice its usual time. */
function tooLong(day: WorstDay): readonly string[] {
  return (["firstAnswer", "endpointChange", "status"] as const).filter((what) =>
    // Both are usual times.
    day.under[what] > 2 * Math.max(day.quiet[what], day.busy[what]) + ALLOWANCE_MS
  );
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  test("a tenant's worst day costs an honest Service no more than twice its usual time, and the server keeps its Lease", async ({ world, ns }) => {
    const node1 = world.node("node1");
    const attacked = await arrangeWorstDay({ world, ns });
    const { evil, sshPort, honestPort } = attacked;
    let day = await liveWorstDay({ world, ns }, attacked, { usualMs: USUAL_MS, attackMs: ATTACK_MS });
    if (tooLong(day).length > 0) day = await timeAgain({ world, ns }, attacked, day, LONG_SPANS);
    assert.deepEqual(tooLong(day), [], JSON.stringify(day));
    for (const [name, why] of day.refused) {
      const { status } = await evil.waitForCondition(name, ({ message }) => why.test(message ?? ""));
      assert.deepEqual([await evil.ingress(name), status], [[], "False"], name);
    }
    assert.deepEqual(await evil.ingress("class"), []);
    // An address that another Service has at that port: the other nodes serve.
    const others = world.nodes.filter(({ name }) => name !== "node2").map(({ ip4 }) => ip4);
    await evil.waitForIngress("external", others);
    assert.match((await evil.condition("external"))?.message ?? "", /node2.*external/);
    const answers = async (ip: string, port: number): Promise<string> => {
      const answer = await world.client.ns.request({ protocol: "tcp", ip, port, timeoutMs: 1_000 });
      return answer.outcome === "answer" ? answer.server : answer.outcome;
    };
    assert.equal(await answers(node1.ip4, sshPort), "sshd");
    for (const port of [10_250, 4_444]) assert.equal(await answers(node1.ip4, port), "refused", String(port));
    for (const { ip4 } of world.nodes) assert.match(await answers(ip4, honestPort), /^one/);
    await node1.ns.unlisten({ protocol: "tcp", port: sshPort, name: "sshd" });
    // Nobody's words steer a terminal, wherever they stand.
    const { items } = await world.admin.list(SERVICES, { namespace: evil.name });
    const words = items.flatMap(({ status }) => status?.conditions ?? []).map(({ message }) => message).join("\n");
    const events = (await Promise.all(items.map(({ metadata }) => evil.events(metadata?.name ?? "")))).flat();
    for (const said of [words, ...events.map(({ message }) => message ?? "")]) assert.equal(visibleText(said), said);
  });

  test(
    "a webhook that never answers for 24 namespaces of a tenant holds up his Services alone, and the server keeps its Lease",
    async ({ world, ns }) => {
      await ns.createApp({ name: "one", nodes: ["node1"] });
      await ns.createApp({ name: "two", nodes: ["node1"] });
      const usual = await medianLife({ world, ns }, { label: "usual", ms: USUAL_MS });
      const before = await holder(world);
      const evil = await Promise.all(Array.from({ length: 24 }, () => world.namespace("hanging")));
      // Refused without a DaemonSet: what is written of it is its condition, in its own namespace.
      const refused = (name: string): Promise<unknown> =>
        Promise.all(evil.map((each) =>
          each.createService({
            name,
            ports: [world.port()],
            annotations: { "k3slb.io/match-addresses": "127.0.0.1" },
          })
        ));
      await refused("first");
      for (const each of evil) await each.waitForCondition("first", ({ message }) => /loopback/.test(message ?? ""));
      await using _webhook = await hangingWebhook(world, evil);
      const under = await beside(
        (signal) => [keepsLease(world, before, signal)],
        async (isOver) => {
          await refused("second");
          return await medianLife({ world, ns }, { label: "under", ms: ATTACK_MS, isOver });
        },
      );
      const told = `usual ${JSON.stringify(usual)}, beside the webhook ${JSON.stringify(under)}`;
      for (const what of ["firstAnswer", "endpointChange", "status"] as const) {
        // Of a namespace that hangs for the first time nobody knows it yet.
        assert.ok(under[what] <= 2 * usual[what] + ALLOWANCE_MS + 250, `${what}: ${told}`);
      }
      // Whose Events were quick until the webhook came may hold it up once, for seconds; one after the other they would for minutes.
      await waitUntil("an Event of the honest Service", async () => (await ns.events("under-0")).length > 0, {
        deadlineMs: 45_000,
      });
      assert.equal((await evil[0]?.condition("second"))?.message, undefined);
    },
    { only: { kind: "real", reason: "the in-memory API server asks no webhooks" } },
  );
}
