// Scene, on real nodes only: Traefik behind a Service of type LoadBalancer routes an Ingress. By a manifest of its own: the packaged chart
// needs helm's image, which a machine without a registry has not.
import { TRAEFIK_IMAGE } from "../../packaged/traefik_image.ts";
import { runToEnd } from "../../support/programs.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { type Page, readPage } from "./real_pods.ts";

interface IngressFacts {
  readonly pages: readonly ({ readonly url: string; readonly host: string } & Page)[];
}

const SERVICE = "ingress";
const HOST = "www.example.com";
/** Port 80 is taken by the demo's first Service. */
const PORT = 8088;
const ENTRY_PORT = 8000;

/** Traefik with what it may read, its Service, and an Ingress to the Service `web`. */
function manifest(namespace: string): string {
  return `
apiVersion: v1
kind: ServiceAccount
metadata: {name: traefik, namespace: ${namespace}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: demo-traefik}
rules:
- {apiGroups: [""], resources: [services, secrets, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: demo-traefik}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: demo-traefik}
subjects:
- {kind: ServiceAccount, name: traefik, namespace: ${namespace}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: traefik, namespace: ${namespace}}
spec:
  selector: {matchLabels: {app: traefik}}
  template:
    metadata: {labels: {app: traefik}}
    spec:
      serviceAccountName: traefik
      containers:
      - name: traefik
        image: ${TRAEFIK_IMAGE}
        args: [--providers.kubernetesingress, --entrypoints.web.address=:${ENTRY_PORT}, --global.checknewversion=false]
        ports: [{containerPort: ${ENTRY_PORT}}]
---
apiVersion: v1
kind: Service
metadata: {name: ${SERVICE}, namespace: ${namespace}}
spec:
  type: LoadBalancer
  selector: {app: traefik}
  ports: [{port: ${PORT}, targetPort: ${ENTRY_PORT}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ${SERVICE}, namespace: ${namespace}}
spec:
  rules:
  - host: ${HOST}
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
`;
}

/** HTTP by host name. */
export const INGRESS_SCENE = scene({
  title: "Traefik routes an Ingress, by every node's address",
  act: async ({ world, ns, counts, serviceNames }): Promise<IngressFacts> => {
    await runToEnd([...world.api.kubectl, "apply", "-f", "-"], { input: manifest(ns.name) });
    serviceNames.push(SERVICE);
    await ns.waitForIngress(SERVICE, world.nodeIps);
    const pages: IngressFacts["pages"][number][] = [];
    for (const ip of world.nodeIps) {
      const url = `http://${ip}:${PORT}/`;
      // Traefik answers with 404 until it has read the Ingress.
      const command = ["wget", "-q", "-O", "-", "--header", `Host: ${HOST}`, url];
      const text = await waitUntil(`a page by ${url}`, () => world.client.ns.run("busybox", command), {
        deadlineMs: 60_000,
        intervalMs: 500,
      });
      expect(text.includes("web-node"), `Traefik's page is that of the Service "web": ${text}`);
      pages.push({ url, host: HOST, ...readPage(text) });
      counts.answers++;
    }
    return { pages };
  },
  show: ({ pages }) => [
    {
      kind: "table",
      columns: [
        { title: "the client gets" },
        { title: "with host" },
        { title: "a page by" },
        { title: "which saw" },
      ],
      rows: pages.map(({ url, host, server, peer }) => [
        { text: url, tone: "strong" },
        { text: host, tone: "good" },
        server,
        peer,
      ]),
    },
    {
      kind: "text",
      tone: "faint",
      text:
        "The demo started this Traefik itself, from an image that was built here: Helm's Job waits for its own. Pods see the " +
        "address of Traefik's pod, as behind any proxy.",
    },
  ],
});
