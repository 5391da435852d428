// An in-memory API server with a client for tests of the packaged parts.
import { createKubeClient } from "../../../../core/kube/client.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import type { EventContent, ObjectReference } from "../../../../core/kube/events.ts";
import { CONFIG_MAPS, NODES, SERVICES } from "../../../../core/kube/resources.ts";
import type { ConfigMap, Service } from "../../../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { createLogger, type Logger } from "../../../../core/shared/log.ts";
import { startMemoryApi } from "../../../support/memory_api/memory_api.ts";
import { parseKubeconfigText } from "../service_lb/kubeconfig_text.ts";
import { marksOf } from "./fixtures.ts";

/** The server and what a test does with it. */
export interface TestCluster {
  readonly client: KubeClient;
  /** A client of another user. */
  open(user: string): Promise<KubeClient>;
  readonly logger: Logger;
  /** Lines that were logged. */
  readonly lines: string[];
  readonly events: { readonly reference: ObjectReference; readonly content: EventContent }[];
  /** Requests that change something. */
  writes(): number;
  addNode(name: string, ...ips: readonly string[]): Promise<void>;
  /** The ConfigMap as the deployer makes it, or with other marks. */
  deployCoredns(corefile: string, marks?: Readonly<Record<string, string>>): Promise<void>;
  configMap(): Promise<ConfigMap>;
  /** The Service of the API server, which a real one makes itself. */
  addApiService(): Promise<void>;
}

const WRITING_VERBS = ["create", "update", "patch", "delete"];

/** Runs `body` with a server that is stopped afterwards. */
export async function withCluster(body: (cluster: TestCluster) => Promise<void>): Promise<void> {
  const api = await startMemoryApi({ controllers: [] });
  const clients: KubeClient[] = [];
  const open = async (user: string): Promise<KubeClient> => {
    const access = await parseKubeconfigText(await api.kubeconfig(user));
    const made = createKubeClient({ access, clock: SYSTEM_CLOCK });
    clients.push(made);
    return made;
  };
  const client = await open("admin");
  const lines: string[] = [];
  const logger = createLogger({ level: "debug", format: "text", write: (line) => lines.push(line), now: () => 0 });
  try {
    await body({
      client,
      open,
      logger,
      lines,
      events: [],
      writes: () =>
        api.requests.list().filter(({ verb }) => WRITING_VERBS.includes(verb)).reduce(
          (sum, line) => sum + line.count,
          0,
        ),
      addNode: async (name, ...ips) => {
        await client.create(NODES, { metadata: { name } });
        const addresses = ips.map((address) => ({ type: "InternalIP", address }));
        await client.patch(NODES, { name }, { type: "merge", body: { status: { addresses } } }, {
          subresource: "status",
        });
      },
      deployCoredns: async (corefile, marks = marksOf("coredns")) => {
        const metadata = { name: "coredns", namespace: "kube-system", annotations: { ...marks } };
        await client.apply(CONFIG_MAPS, {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata,
          data: { Corefile: corefile },
        });
      },
      configMap: () => client.get(CONFIG_MAPS, { namespace: "kube-system", name: "coredns" }),
      addApiService: async () => {
        const spec = { clusterIP: "10.43.0.1", ports: [{ name: "https", port: 443, targetPort: 6443 }] };
        await client.create(SERVICES, { metadata: { name: "kubernetes", namespace: "default" }, spec } as Service);
      },
    });
  } finally {
    for (const one of clients) one.close();
    await api.stop();
  }
}
