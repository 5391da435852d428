// Scene: a node loses its network. Its pod gets no connections any more, its address leaves the status, and both come back.
import { waitUntil } from "../../support/wait.ts";
import { pullCable } from "../../support/network_faults.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ingressIps, LOOK } from "../stage.ts";

interface DeathFacts {
  readonly connections: number;
  readonly gone: { readonly ips: readonly string[]; readonly tookMs: number; readonly said: string };
  readonly back: { readonly ips: readonly string[]; readonly tookMs: number };
}

const NODE = "node3";
const NAME = "mortal";
const PORT = 8090;
/** A client's system sends its SYN again after 1 and 3 s. */
const PATIENCE_MS = 8_000;
/** Whoever asks a node must have had an answer before silence means anything. */
const ASKED_MS = 2_500;

/** Kubernetes would take 40 s. */
export const NODE_DIES_SCENE = scene({
  title: `${NODE} loses its network; clients of the others notice a pause at most`,
  act: async (stage): Promise<DeathFacts> => {
    const { world, ns } = stage;
    await ns.createApp({ name: NAME, nodes: world.nodes.map(({ name }) => name) });
    await ns.createService({ name: NAME, ports: [PORT] });
    await ns.waitForIngress(NAME, world.nodeIps);
    const living = world.nodes.filter(({ name }) => name !== NODE);
    await new Promise((resolve) => setTimeout(resolve, ASKED_MS));
    const until = async (count: number): Promise<readonly string[]> =>
      await waitUntil(`${count} addresses`, async () => {
        const ips = ingressIps(await ns.service(NAME));
        return ips.length === count && ips;
      }, { ...LOOK, deadlineMs: 30_000 });
    const plugIn = await pullCable(world.topology.lan, world.node(NODE));
    const cutMs = performance.now();
    const flow = await world.client.ns.startFlow(
      living.map(({ ip4 }) => ({ protocol: "tcp", ip: ip4, port: PORT, timeoutMs: PATIENCE_MS })),
      50,
    );
    let gone: DeathFacts["gone"];
    let counts: readonly Readonly<Record<string, number>>[];
    try {
      const ips = await until(living.length);
      const tookMs = performance.now() - cutMs;
      const { message = "" } = await ns.waitForCondition(NAME, ({ message }) => message?.includes(NODE) ?? false);
      gone = { ips, tookMs, said: message };
      await new Promise((resolve) => setTimeout(resolve, ASKED_MS));
      counts = await flow.stop();
    } finally {
      await plugIn();
    }
    const pluggedMs = performance.now();
    const back = { ips: await until(world.nodes.length), tookMs: performance.now() - pluggedMs };
    const outcomes = counts.flatMap((one) => Object.keys(one));
    expect(outcomes.every((one) => one === "answer"), `connections ended with ${JSON.stringify(counts)}`);
    await ns.deleteService(NAME);
    const connections = counts.flatMap((one) => Object.values(one)).reduce((sum, count) => sum + count, 0);
    return { connections, gone, back };
  },
  show: ({ connections, gone, back }) => [
    {
      kind: "table",
      columns: [{ title: "what" }, { title: "seen", wraps: true }],
      rows: [
        [`cable of ${NODE} pulled`, `addresses ${gone.ips.join(" ")} after ${seconds(gone.tookMs)}`],
        ["meanwhile", {
          text: `${connections} of ${connections} new connections to the others answered`,
          tone: "good",
        }],
        ["the Service says", gone.said],
        ["plugged in again", { text: `addresses ${back.ips.join(" ")} after ${seconds(back.tookMs)}`, tone: "good" }],
      ],
    },
  ],
});

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
