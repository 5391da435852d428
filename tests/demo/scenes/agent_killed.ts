// Scene: an agent is killed. Its rules stay in the kernel, so connections old and new go on; a new agent finds them.
import { NODES } from "../../../core/kube/resources.ts";
import { FORWARDING_CONDITION } from "../../../core/service/labels.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ask, describeTarget, LOOK, milliseconds, type Stage, targetsOf } from "../stage.ts";

interface KillFacts {
  readonly asked: string;
  readonly pid: number;
  readonly exit: string;
  readonly openExchanges: number;
  readonly newAnswers: number;
  readonly rulesBefore: number;
  readonly rulesAfter: number;
  readonly freshPid: number;
  readonly heartbeatMs: number;
}

const NODE = "node1";
const SERVICE = "web";
const CONNECTIONS = 50;

/** No agent, and traffic goes on. */
export const AGENT_KILLED_SCENE = scene({
  title: `The agent on ${NODE} is killed (SIGKILL); traffic goes on`,
  act: async (stage): Promise<KillFacts> => {
    const { world, ns } = stage;
    const node = world.node(NODE);
    const [target] = targetsOf(await ns.service(SERVICE), [node.ip4]);
    expect(target !== undefined && node.agent !== undefined, `there is no agent on ${NODE}`);
    const { pid } = node.agent;
    const rulesBefore = await ownRules(stage);
    const stream = await world.client.ns.open(target);
    let openExchanges = 0;
    const exchange = async (): Promise<void> => {
      const { outcome } = await stream.exchange();
      expect(outcome === "answer", `the open connection gives "${outcome}"`);
      openExchanges++;
    };
    await exchange();
    await node.killAgent();
    const exit = String(node.agent.exitStatus);
    for (let i = 0; i < CONNECTIONS; i++) await ask(stage, target);
    await exchange();
    const startMs = performance.now();
    const beforeBeat = await heartbeat(stage);
    const { pid: freshPid } = await node.startAgent();
    await waitUntil("the new agent's heartbeat", async () => {
      const beat = await heartbeat(stage);
      return beat !== beforeBeat && beat.startsWith("True");
    }, LOOK);
    const heartbeatMs = performance.now() - startMs;
    await exchange();
    await stream.close();
    const rulesAfter = await ownRules(stage);
    expect(
      rulesAfter.join("\n") === rulesBefore.join("\n"),
      `the new agent changed the rules:\n${rulesBefore.join("\n")}\n\nnow:\n${rulesAfter.join("\n")}`,
    );
    return {
      asked: describeTarget(target),
      pid,
      exit,
      openExchanges,
      newAnswers: CONNECTIONS,
      rulesBefore: rulesBefore.length,
      rulesAfter: rulesAfter.length,
      freshPid,
      heartbeatMs,
    };
  },
  show: (facts) => [
    {
      kind: "table",
      columns: [{ title: "what" }, { title: "seen", wraps: true }],
      rows: [
        ["the agent", `process ${facts.pid} ended by ${facts.exit}`],
        ["meanwhile", {
          text: `${facts.newAnswers} of ${facts.newAnswers} new connections to ${facts.asked} answered`,
          tone: "good",
        }],
        ["a connection from before", {
          text:
            `answered ${facts.openExchanges} of ${facts.openExchanges} times: before, without agent, with the new one`,
          tone: "good",
        }],
        ["a new agent", `process ${facts.freshPid} says Forwarding after ${milliseconds(facts.heartbeatMs)}`],
        ["rules in the kernel", `${facts.rulesBefore} before, ${facts.rulesAfter} after, every one the same`],
      ],
    },
  ],
});

/** The rules of our chains, without counters. */
async function ownRules(stage: Stage): Promise<readonly string[]> {
  const text = await stage.world.node(NODE).ns.run("iptables-save");
  return text.split("\n").filter((line) => line.startsWith("-A ") && line.includes("K3SLB"));
}

/** Status and time of the agent's condition, in one text. */
async function heartbeat(stage: Stage): Promise<string> {
  const node = await stage.world.admin.get(NODES, { name: NODE });
  const found = node.status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION);
  return `${found?.status} ${found?.message} ${found?.lastHeartbeatTime}`;
}
