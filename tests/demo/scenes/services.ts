// Scene: Services of type LoadBalancer and who serves them on which address. Later scenes use these Services.
import type { Service } from "../../../core/kube/types.ts";
import { POOL_LABEL } from "../../../core/service/labels.ts";
import { waitUntil } from "../../support/wait.ts";
import type { ServiceWish } from "../../support/world_objects.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import {
  ingressIps,
  listServices,
  LOOK,
  milliseconds,
  servedCondition,
  type Stage,
  targetsOf,
  tryToAsk,
} from "../stage.ts";

/** The pool of {@linkcode POOLED_SERVICE} and its nodes. */
export const POOL = { name: "edge", nodes: ["node2", "node3"] } as const;

/** The Service that only the pool's nodes serve. */
export const POOLED_SERVICE = "intranet";

/** Two Services that want the same port; the first is older. */
export const RIVALS = { owner: "shop", waits: "shop-copy" } as const;

/** How long the pods of {@linkcode RIVALS} serve after they were deleted. */
export const STOP_AFTER_MS = 1_000;

interface Wish extends ServiceWish {
  /** Nodes of the pods. */
  readonly pods: readonly string[];
  readonly stopAfterMs?: number;
  /** Nodes whose addresses the status must list. */
  readonly servedBy: readonly string[];
}

const ALL = ["node1", "node2", "node3"];

const WISHES: readonly Wish[] = [
  { name: "web", ports: [80], pods: ["node1", "node2"], servedBy: ALL },
  {
    name: "dns",
    ports: [{ port: 53, protocol: "UDP" }],
    pods: ["node2"],
    servedBy: ALL,
    spec: { ipFamilyPolicy: "RequireDualStack" },
  },
  {
    name: "files",
    ports: [2049],
    pods: ["node3"],
    servedBy: ["node3"],
    spec: { externalTrafficPolicy: "Local" },
  },
  { name: POOLED_SERVICE, ports: [443], pods: ["node1"], servedBy: POOL.nodes, labels: { [POOL_LABEL]: POOL.name } },
  // Its pod moves later: like one with a preStop hook it serves for a moment after it was deleted.
  { name: RIVALS.owner, stopAfterMs: STOP_AFTER_MS, ports: [8080], pods: ["node1"], servedBy: ALL },
  { name: RIVALS.waits, ports: [8080], app: RIVALS.owner, pods: [], servedBy: [] },
];

interface ServiceFacts {
  readonly service: Service;
  readonly pods: readonly string[];
  /** Milliseconds from the Service's creation to an answer from every address; absent if it has none. */
  readonly answeredMs?: number;
}

/** The Services of the demo. */
export const SERVICES_SCENE = scene({
  title: "Six Services of type LoadBalancer, served on the nodes' own addresses",
  act: async (stage): Promise<readonly ServiceFacts[]> => {
    for (const name of POOL.nodes) await stage.world.node(name).label({ [POOL_LABEL]: POOL.name });
    await Promise.all(
      WISHES.map(({ name, pods, stopAfterMs = 0 }) => stage.ns.createApp({ name, nodes: pods, stopAfterMs })),
    );
    const times: Promise<number>[] = [];
    for (const wish of WISHES) {
      await stage.ns.createService(wish);
      stage.serviceNames.push(wish.name);
      times.push(answerFromEveryAddress(stage, wish));
    }
    const answered = await Promise.all(times);
    const services = await listServices(stage);
    return WISHES.map((wish, index) => {
      const service = services.find(({ metadata }) => metadata?.name === wish.name);
      expect(service !== undefined, `Service "${wish.name}" is gone`);
      const answeredMs = answered[index] ?? 0;
      return { service, pods: wish.pods, ...(wish.servedBy.length > 0 ? { answeredMs } : {}) };
    });
  },
  show: (facts) => [
    {
      kind: "table",
      columns: [
        { title: "service" },
        { title: "port" },
        { title: "pods on" },
        { title: "asks for", wraps: true },
        { title: "addresses in its status", wraps: true },
        { title: "answers", align: "right" },
      ],
      rows: facts.map(({ service, pods, answeredMs }) => [
        { text: service.metadata?.name ?? "", tone: "strong" },
        (service.spec?.ports ?? []).map(({ port, protocol }) => `${port}/${protocol}`).join(" "),
        pods.join(" ") || "as shop",
        specialWish(service),
        ingressIps(service).length > 0
          ? { text: ingressIps(service).join(" "), tone: "good" }
          : { text: `<pending>: ${servedCondition(service).reason}`, tone: "bad" },
        answeredMs === undefined ? "-" : `after ${milliseconds(answeredMs)}`,
      ]),
    },
    {
      kind: "text",
      tone: "faint",
      text: "answers: time from creating the Service until every listed address answered a connection from the client",
    },
  ],
});

/** Milliseconds until the status lists exactly the wished nodes and each address answers. */
async function answerFromEveryAddress(stage: Stage, wish: Wish): Promise<number> {
  const startMs = performance.now();
  const nodes = wish.servedBy.map((name) => stage.world.node(name));
  const ips = nodes.flatMap(({ ip4, ip6 }) => wish.spec?.ipFamilyPolicy === undefined ? [ip4] : [ip4, ip6]);
  const wanted = ips.sort().join(" ");
  const service = await waitUntil(`Service "${wish.name}" to be on "${wanted}"`, async () => {
    const seen = await stage.ns.service(wish.name);
    const isDecided = wanted !== "" || servedCondition(seen).status === "False";
    return isDecided && [...ingressIps(seen)].sort().join(" ") === wanted && seen;
  }, LOOK);
  for (const target of targetsOf(service, ingressIps(service))) {
    await waitUntil("an answer", async () => (await tryToAsk(stage, target)).outcome === "answer", LOOK);
  }
  return performance.now() - startMs;
}

function specialWish(service: Service): string {
  const pool = service.metadata?.labels?.[POOL_LABEL];
  if (pool !== undefined) return `pool "${pool}"`;
  if (service.spec?.externalTrafficPolicy === "Local") return "policy Local";
  if (service.spec?.ipFamilyPolicy === "RequireDualStack") return "IPv4 and IPv6";
  return "-";
}
