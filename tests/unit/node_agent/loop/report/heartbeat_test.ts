// What the heartbeat says, and whose it is.
import assert from "node:assert/strict";
import { NODES } from "../../../../../core/kube/resources.ts";
import type { Node } from "../../../../../core/kube/types.ts";
import { FORWARDING_CONDITION } from "../../../../../core/service/labels.ts";
import { lastReport, type ServiceReport } from "../../../../../core/service/node_report.ts";
import type { IpFamily } from "../../../../../core/shared/ip.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { createInProcess } from "../../../../support/memory_api/in_process.ts";
import { portWith } from "../../../../support/plans.ts";
import type { ConditionState } from "../../../../../node_agent/loop/report/desired_gate.ts";
import { heartbeatPatch, heartbeatState, rivalInstance } from "../../../../../node_agent/loop/report/heartbeat.ts";
import {
  createHeartbeatWriter,
  type HeartbeatWriter,
  reportIntervalMs,
} from "../../../../../node_agent/loop/report/heartbeat_writer.ts";

const SIGNATURE = { version: "0.1.0", backend: "nft", instanceId: "one" };
const HEALTHY = {
  plan: { ports: [], podCidrs: [] },
  report: { families: ["IPv4", "IPv6"] as const, failures: [], ruleCounts: { IPv4: 7, IPv6: 8 }, chainsWritten: 0 },
};

Deno.test("heartbeatState: counts, version, backend and instance of a healthy agent", () => {
  assert.deepEqual(heartbeatState(HEALTHY, SIGNATURE), {
    status: "True",
    reason: "Forwarding",
    message: "0 ports of 0 Services, 7 IPv4 rules, 8 IPv6 rules; agent 0.1.0, nft, instance one",
  });
});

Deno.test("heartbeatState: one port is one port, and warnings come before the signature", () => {
  const plan = { ports: [portWith()], podCidrs: [] };
  const { message } = heartbeatState({ ...HEALTHY, plan, warnings: ["FORWARD drops all"] }, SIGNATURE);
  assert.equal(
    message,
    "1 port of 1 Service, 7 IPv4 rules, 8 IPv6 rules; FORWARD drops all; agent 0.1.0, nft, instance one",
  );
});

Deno.test("heartbeatState: False while a wanted family could not be written, whatever the other one has", () => {
  const unwritten = [{ family: "IPv6", reason: "no such table" }] as const;
  const stateOf = (families: readonly IpFamily[]): ConditionState =>
    heartbeatState(
      {
        plan: { ports: [portWith({ families })], podCidrs: [] },
        report: { families: ["IPv4"], failures: [], unwritten, ruleCounts: { IPv4: 7 }, chainsWritten: 0 },
      },
      SIGNATURE,
    );
  const wanted = stateOf(["IPv4", "IPv6"]);
  assert.deepEqual([wanted.status, wanted.reason], ["False", "FamilyNotWritten"]);
  assert.match(wanted.message, /^the IPv6 rules are not as they should be: no such table; 1 port of 1 Service/);
  assert.equal(stateOf(["IPv4"]).status, "True");
});

Deno.test("heartbeatState: reason of an agent that can't, and its rival", () => {
  const state = heartbeatState({ reason: "IptablesFailed", message: "no such table" }, SIGNATURE, "two");
  assert.deepEqual([state.status, state.reason], ["False", "IptablesFailed"]);
  assert.match(state.message, /^no such table; another agent \(instance two\) .*instance one$/);
});

Deno.test("heartbeatPatch: the transition time moves with the status only", () => {
  const before = nodeWith("instance one", "2026-11-23T00:00:00Z");
  const state = heartbeatState(HEALTHY, SIGNATURE);
  const condition = (node: Node | undefined): unknown =>
    (heartbeatPatch(node, { state, report: undefined, isWritten: true, now: "2026-11-23T00:01:00Z" }).body as {
      status: { conditions: unknown[] };
    }).status
      .conditions[0];
  const common = { type: FORWARDING_CONDITION, ...state, lastHeartbeatTime: "2026-11-23T00:01:00Z" };
  assert.deepEqual(condition(before), { ...common, lastTransitionTime: "2026-11-22T00:00:00Z" });
  assert.deepEqual(condition(undefined), { ...common, lastTransitionTime: "2026-11-23T00:01:00Z" });
});

interface RivalCase {
  readonly name: string;
  readonly message: string;
  readonly time: string;
  readonly want: string | undefined;
}

const SINCE_MS = Date.parse("2026-11-23T00:00:00Z");
const RIVAL_CASES: readonly RivalCase[] = [
  {
    name: "our own heartbeat",
    message: "x; agent 1, nft, instance one",
    time: "2026-11-23T00:01:00Z",
    want: undefined,
  },
  {
    name: "another one that is newer",
    message: "x; agent 1, nft, instance two",
    time: "2026-11-23T00:01:00Z",
    want: "two",
  },
  {
    name: "the predecessor's last one",
    message: "x; agent 1, nft, instance two",
    time: "2026-11-22T23:59:59Z",
    want: undefined,
  },
  { name: "a message without a signature", message: "fine", time: "2026-11-23T00:01:00Z", want: undefined },
  { name: "a heartbeat without a time", message: "instance two", time: "", want: undefined },
];

for (const { name, message, time, want } of RIVAL_CASES) {
  Deno.test(`rivalInstance: ${name}`, () => {
    assert.equal(rivalInstance(nodeWith(message, time), "one", SINCE_MS), want);
  });
}

function nodeWith(message: string, lastHeartbeatTime: string): Node {
  const lastTransitionTime = "2026-11-22T00:00:00Z";
  return {
    status: {
      conditions: [{ type: FORWARDING_CONDITION, status: "True", message, lastHeartbeatTime, lastTransitionTime }],
    },
  };
}

for (const [nodes, want] of [[0, 1000], [1, 200], [3, 200], [20, 400], [1000, 1000]] as const) {
  Deno.test(`reportIntervalMs: ${want} ms in a cluster of ${nodes} nodes`, () => {
    assert.equal(reportIntervalMs(nodes), want);
  });
}

/** A writer at work on Node "a", one of three. */
class WriterAtWork {
  readonly clock = createFakeClock();
  /** When it wrote. */
  readonly writtenMs: number[] = [];
  readonly #end = new AbortController();
  readonly #api = createInProcess({
    onRequest: ({ verb }) => {
      if (verb === "patch") this.writtenMs.push(this.clock.monotonicMs());
    },
  });
  readonly #writer: HeartbeatWriter;
  readonly #running: Promise<void>;

  constructor(
    { around = (write) => write(), seen = () => this.node }: {
      /** Stands between the writer and the API server. */
      readonly around?: <T>(write: () => Promise<T>) => Promise<T>;
      /** The Node as its watch has it. */
      readonly seen?: () => Node | undefined;
    } = {},
  ) {
    const { client } = this.#api;
    this.#api.objects(NODES).put({ metadata: { name: "a" } });
    this.#writer = createHeartbeatWriter({
      client: { ...client, patch: (...call) => around(() => client.patch(...call)) },
      nodeName: "a",
      signature: SIGNATURE,
      clock: this.clock,
      logger: SILENT_LOGGER,
      signal: this.#end.signal,
      node: seen,
      nodeCount: () => 3,
    });
    this.#running = this.#writer.run();
  }

  get node(): Node | undefined {
    return this.#api.objects<Node>(NODES).get("a");
  }

  /** What its report says of a Service. */
  reported(id: string): ServiceReport | undefined {
    return lastReport(this.node)?.services.get(id);
  }

  async tell(services: Readonly<Record<string, ServiceReport>>, thenMs: number): Promise<void> {
    this.#writer.report(HEALTHY, { instance: "one", services: new Map(Object.entries(services)), cut: 0 });
    await this.clock.advance(thenMs);
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }
}

function serving(ports: string): ServiceReport {
  return { ports, serves: true };
}

Deno.test("createHeartbeatWriter: Services made one by one are reported at once, a burst at its pace, and the last word is always written", async () => {
  const writer = new WriterAtWork();
  const services: Record<string, ServiceReport> = {};
  for (let i = 0; i < 16; i++) {
    services[`s${i}`] = serving("80/TCP");
    await writer.tell(services, 50);
  }
  await writer.clock.advance(1000);
  assert.deepEqual(writer.writtenMs, [0, 50, 100, 150, 200, 250, 300, 400, 600, 800]);
  assert.equal(lastReport(writer.node)?.services.size, 16);
  await writer.stop();
});

Deno.test("createHeartbeatWriter: other words for the same refusal wait, and hold up no verdict", async () => {
  const writer = new WriterAtWork();
  const many = (message: string): ServiceReport => ({ ports: "80", serves: false, reason: "TooManyRules", message });
  for (let i = 0; i < 39; i++) await writer.tell({ many: many(`${i} rules`) }, 50);
  const honest = serving("81");
  await writer.tell({ many: many("39 rules"), honest }, 50);
  assert.deepEqual(writer.writtenMs, [0, 1950]);
  await writer.tell({ many: many("all of them"), honest }, 4000);
  const told = writer.reported("many");
  assert.equal(told?.serves === false && told.message, "all of them");
  await writer.stop();
});

Deno.test("createHeartbeatWriter: what is told again while it is written is written once; what is taken back meanwhile, after it", async () => {
  const writer = new WriterAtWork({
    around: async (write) => {
      await writer.clock.sleep(50);
      return await write();
    },
  });
  await writer.tell({ s: serving("80/TCP") }, 3000);
  const before = writer.writtenMs.length;
  await writer.tell({ s: serving("81/TCP") }, 10);
  await writer.tell({ s: serving("81/TCP") }, 3000);
  assert.equal(writer.writtenMs.length - before, 1);
  await writer.tell({ s: serving("82/TCP") }, 10);
  await writer.tell({ s: serving("81/TCP") }, 3000);
  assert.equal(writer.reported("s")?.ports, "81/TCP");
  await writer.stop();
});

for (const isLost of [false, true]) {
  const what = isLost ? "its answer lost" : "its answer there";
  Deno.test(`createHeartbeatWriter: a change taken back before the watch shows it is taken back on the Node, ${what}`, async () => {
    let seen: Node | undefined;
    let losesNext = false;
    const writer = new WriterAtWork({
      around: async (write) => {
        const answer = await write();
        if (losesNext) {
          losesNext = false;
          throw new Error("connection reset");
        }
        return answer;
      },
      seen: () => seen,
    });
    seen = writer.node;
    await writer.tell({ s: serving("80/TCP") }, 2000);
    seen = writer.node;
    losesNext = isLost;
    await writer.tell({ s: serving("81/TCP") }, 0);
    assert.equal(writer.reported("s")?.ports, "81/TCP");
    await writer.tell({ s: serving("80/TCP") }, 2000);
    assert.equal(writer.reported("s")?.ports, "80/TCP");
    await writer.stop();
  });
}
