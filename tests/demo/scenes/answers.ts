// Scene: connections to every address of every Service, the pods that answered, the client address that each pod saw.
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ask, ingressIps, listServices, nodeOfPod, type Stage, type Target, targetsOf, whoIs } from "../stage.ts";

interface AnswerFacts {
  readonly service: string;
  readonly target: Target;
  /** Name of the machine that was asked. */
  readonly asked: string;
  readonly pod: string;
  readonly podNode: string;
  readonly count: number;
  /** The client address that the pod saw, and whose it is. */
  readonly seenIp: string;
  readonly seenName: string;
}

/** Connections for each address. */
const CONNECTIONS = 12;

/** Every address, asked for real. */
export const ANSWERS_SCENE = scene({
  title: `The client asks every address ${CONNECTIONS} times: which pod answers, and whose address it sees`,
  act: async (stage): Promise<readonly AnswerFacts[]> => {
    const facts: AnswerFacts[] = [];
    for (const service of await listServices(stage)) {
      for (const target of targetsOf(service, ingressIps(service))) {
        facts.push(...await askOften(stage, service.metadata?.name ?? "", target));
      }
    }
    return facts;
  },
  show: (facts) => [
    {
      kind: "table",
      columns: [
        { title: "service" },
        { title: "asked" },
        { title: "node" },
        { title: "answered by" },
        { title: "times", align: "right" },
        { title: "the pod saw" },
        { title: "which is", wraps: true },
      ],
      rows: facts.map((fact, index) => {
        const before = facts[index - 1];
        const isSameService = before?.service === fact.service;
        const isSameTarget = isSameService && before?.target.ip === fact.target.ip;
        return [
          isSameService ? "" : { text: fact.service, tone: "strong" },
          isSameTarget ? "" : fact.target.ip,
          isSameTarget ? "" : fact.asked,
          fact.pod,
          String(fact.count),
          fact.seenIp,
          fact.seenName === "client" ? { text: "client", tone: "good" } : fact.seenName,
        ];
      }),
    },
    {
      kind: "text",
      tone: "faint",
      text: "A pod on the node that was asked sees the client's own address. Only a connection that must go on to " +
        "another node is sent in the first node's name, so that the answer comes back the same way.",
    },
  ],
});

async function askOften(stage: Stage, service: string, target: Target): Promise<readonly AnswerFacts[]> {
  const answers = await Promise.all(Array.from({ length: CONNECTIONS }, () => ask(stage, target)));
  const asked = whoIs(stage, target.ip);
  const counts = new Map<string, AnswerFacts>();
  for (const { server, peer } of answers) {
    const podNode = nodeOfPod(stage, server);
    const seenName = whoIs(stage, peer);
    expect(
      seenName === (podNode === asked ? "client" : asked),
      `"${server}", asked through ${asked}, saw ${peer} (${seenName})`,
    );
    const key = `${server} ${peer}`;
    const count = (counts.get(key)?.count ?? 0) + 1;
    counts.set(key, { service, target, asked, pod: server, podNode, count, seenIp: peer, seenName });
  }
  return [...counts.values()].sort((a, b) => a.pod.localeCompare(b.pod));
}
