// Scene, on real nodes only: pods with containers in them. A web page by each node's address, and CoreDNS that answers a pod.
import { DEPLOYMENTS } from "../../../core/kube/resources.ts";
import { runToEnd } from "../../support/programs.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { type Stage } from "../stage.ts";
import { expect } from "../story.ts";

interface RealPodsFacts {
  readonly pages: readonly ({ readonly url: string } & Page)[];
  readonly lookup: { readonly pod: string; readonly name: string; readonly ip: string };
}

/** What the web page of a pod says. */
export interface Page {
  /** Name of the pod. */
  readonly server: string;
  /** Address that it was asked from. */
  readonly peer: string;
}

/** A page that was got. */
export function readPage(text: string): Page {
  const { server, peer } = JSON.parse(text) as Page;
  return { server, peer };
}

const SERVICE = "web";
const POD = "web-node1";

/** What runs in containers. */
export const REAL_PODS_SCENE = scene({
  title: "The pods are containers: a web page by every address, and CoreDNS answers a pod",
  act: async (stage): Promise<RealPodsFacts> => {
    const pages: RealPodsFacts["pages"][number][] = [];
    for (const ip of stage.world.nodeIps) {
      const url = `http://${ip}/`;
      pages.push({ url, ...readPage(await stage.world.client.ns.run("busybox", ["wget", "-q", "-O", "-", url])) });
      stage.counts.answers++;
    }
    return { pages, lookup: await lookUp(stage) };
  },
  show: ({ pages, lookup }) => [
    {
      kind: "table",
      columns: [{ title: "the client gets" }, { title: "a page by" }, { title: "which saw" }],
      rows: pages.map(({ url, server, peer }) => [{ text: url, tone: "strong" }, { text: server, tone: "good" }, peer]),
    },
    {
      kind: "table",
      columns: [{ title: "pod" }, { title: "asks CoreDNS for" }, { title: "answer" }],
      rows: [[{ text: lookup.pod, tone: "strong" }, lookup.name, { text: lookup.ip, tone: "good" }]],
    },
  ],
});

async function lookUp({ world, ns }: Stage): Promise<RealPodsFacts["lookup"]> {
  await waitUntil("CoreDNS to be ready", async () => {
    const { status } = await world.admin.get(DEPLOYMENTS, { namespace: "kube-system", name: "coredns" });
    return (status?.readyReplicas ?? 0) > 0;
  }, { deadlineMs: 120_000, intervalMs: 500 });
  const name = `${SERVICE}.${ns.name}.svc.cluster.local`;
  const exec = [...world.api.kubectl, "-n", ns.name, "exec", POD, "--", "nslookup", name];
  // A Service's first answers come when CoreDNS has read it.
  const text = await waitUntil("an answer of CoreDNS", () => runToEnd(exec), { intervalMs: 500 });
  const ip = (await ns.service(SERVICE)).spec?.clusterIP ?? "";
  expect(text.includes(ip), `CoreDNS answers a pod: ${text}`);
  return { pod: POD, name, ip };
}
