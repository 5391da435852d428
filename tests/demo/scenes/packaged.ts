// Scene: CoreDNS and Traefik, which come with the server: which ones it chose and why, in its own words, and what is in the cluster.
// What is applied is shown; whether any of it runs depends on the world.
import { HELM_CHARTS, type HelmChart } from "../../../core/helm/helm_chart.ts";
import { CHART_LABEL, jobName } from "../../../core/helm/names.ts";
import { CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SERVICES } from "../../../core/kube/resources.ts";
import { COREDNS_CONFIG_MAP, NODE_HOSTS_KEY } from "../../../core/packaged/coredns.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import type { Stage } from "../stage.ts";

interface PackagedFacts {
  readonly coredns: {
    readonly chosen: string;
    readonly ip: string;
    readonly image: string;
  };
  readonly traefik: {
    readonly chosen: string;
    /** Names and versions of its charts. */
    readonly charts: readonly string[];
    readonly job: string;
    readonly image: string;
    readonly node: string;
  };
  readonly nodeHosts: readonly string[];
  /** Whether there are containers. */
  readonly runs: boolean;
}

const NAMESPACE = "kube-system";
const TRAEFIK = "traefik";

/** What the server brings along. */
export const PACKAGED_SCENE = scene({
  title: "CoreDNS and Traefik came with the server: which ones, why, and what it made of them",
  act: async (stage): Promise<PackagedFacts> => ({
    coredns: await corednsFacts(stage),
    traefik: await traefikFacts(stage),
    nodeHosts: await nodeHosts(stage),
    runs: stage.world.kind === "nodes",
  }),
  show: ({ coredns, traefik, nodeHosts, runs }) => [
    {
      kind: "table",
      columns: [{ title: "part" }, { title: "where" }, { title: "seen", wraps: true }],
      rows: [
        [{ text: "CoreDNS", tone: "strong" }, "the server's log", { text: coredns.chosen, tone: "good" }],
        ["", "Service", `kube-dns at ${coredns.ip}`],
        ["", "Deployment", `coredns, image ${coredns.image}`],
        [{ text: "Traefik", tone: "strong" }, "the server's log", { text: traefik.chosen, tone: "good" }],
        ["", "HelmCharts", traefik.charts.join(", ")],
        ["", "Job", `${traefik.job} on ${traefik.node}, image ${traefik.image}`],
      ],
    },
    {
      kind: "listing",
      lines: [
        {
          text: `# ${NODE_HOSTS_KEY} in ConfigMap ${NAMESPACE}/${COREDNS_CONFIG_MAP}: the nodes' names for pods`,
          tone: "faint",
        },
        ...nodeHosts,
      ],
    },
    {
      kind: "text",
      tone: "faint",
      text: runs
        ? "CoreDNS runs, from an image that was built here; Helm's Job waits for its own, as no registry is asked."
        : "There are no containers here: CoreDNS and Helm's Job are applied, not run.",
    },
  ],
});

async function corednsFacts(stage: Stage): Promise<PackagedFacts["coredns"]> {
  const { admin } = stage.world;
  const chosen = await chosenBecause(stage, "CoreDNS");
  const service = await waitUntil(
    "Service kube-dns",
    () => admin.get(SERVICES, { namespace: NAMESPACE, name: "kube-dns" }),
  );
  const ip = service.spec?.clusterIP ?? "";
  expect(chosen.split(/[ ,]+/).includes(ip), `Service kube-dns has ${ip}, and the log says: ${chosen}`);
  const deployment = await waitUntil(
    "Deployment coredns",
    () => admin.get(DEPLOYMENTS, { namespace: NAMESPACE, name: "coredns" }),
  );
  return { chosen, ip, image: deployment.spec?.template.spec?.containers[0]?.image ?? "" };
}

async function traefikFacts(stage: Stage): Promise<PackagedFacts["traefik"]> {
  const { admin } = stage.world;
  const chosen = await chosenBecause(stage, "Traefik");
  const chart = await waitUntil(
    "HelmChart traefik",
    () => admin.get(HELM_CHARTS, { namespace: NAMESPACE, name: TRAEFIK }),
  );
  const version = chart.spec?.version ?? "";
  expect(
    chosen.includes(`(chart ${version})`),
    `HelmChart traefik has version ${version}, and the log says: ${chosen}`,
  );
  const name = jobName(TRAEFIK, "install");
  const job = await waitUntil(`Job ${name}`, () => admin.get(JOBS, { namespace: NAMESPACE, name }));
  const pod = await waitUntil(`the pod of Job ${name}`, async () => {
    const { items } = await admin.list(PODS, { namespace: NAMESPACE, labelSelector: `${CHART_LABEL}=${TRAEFIK}` });
    return items.find(({ spec }) => spec?.nodeName !== undefined);
  });
  return {
    chosen,
    charts: (await admin.list(HELM_CHARTS, { namespace: NAMESPACE })).items.map(describeChart),
    job: name,
    image: job.spec?.template.spec?.containers[0]?.image ?? "",
    node: pod.spec?.nodeName ?? "",
  };
}

/** The lines of CoreDNS's hosts file once it has every address of every node. */
async function nodeHosts({ world }: Stage): Promise<readonly string[]> {
  const wanted = world.nodes.flatMap(({ name, ip4, ip6 }) => [`${ip4} ${name}`, `${ip6} ${name}`]);
  return await waitUntil("a line for every address of the nodes", async () => {
    const { data } = await world.admin.get(CONFIG_MAPS, { namespace: NAMESPACE, name: COREDNS_CONFIG_MAP });
    const lines = (data?.[NODE_HOSTS_KEY] ?? "").trimEnd().split("\n");
    return wanted.every((line) => lines.includes(line)) && lines;
  });
}

/** The sentence of the server's log that says what is deployed and why, without the fields behind it. */
async function chosenBecause({ world }: Stage, part: string): Promise<string> {
  const pattern = new RegExp(` (Deploying ${part} .+?)(?: \\w+=.*)?$`, "m");
  return await waitUntil(`the choice of ${part} in the log`, () => {
    return pattern.exec(world.servers[0]?.logTail(Infinity) ?? "")?.[1];
  });
}

function describeChart({ metadata, spec }: HelmChart): string {
  return `${metadata?.name} ${spec?.version}`;
}
