// An admission webhook that never answers, as a tenant may have one for his namespaces. Only the real API server asks it.
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import type { KubeClient, ResourceType } from "../../core/kube/contract.ts";
import { SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject, Service } from "../../core/kube/types.ts";
import { openTestClient } from "./test_client.ts";
import { waitUntil } from "./wait.ts";
import { SERVER_USER, type World } from "./world.ts";
import type { TestNamespace } from "./world_objects.ts";

const WEBHOOKS: ResourceType<KubeObject> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind: "ValidatingWebhookConfiguration",
  plural: "validatingwebhookconfigurations",
  namespaced: false,
};

/** Asked for whatever the server writes about the namespaces of `of`; takes each connection and never says a word. Resolves when it is in force. */
export async function hangingWebhook(world: World, of: readonly TestNamespace[]): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => void sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as { readonly port: number };
  const name = "hangs.example.com";
  const rule = (resources: readonly string[], operations: readonly string[]): object => ({
    apiGroups: [""],
    apiVersions: ["v1"],
    resources,
    operations,
  });
  await world.admin.create(WEBHOOKS, {
    metadata: { name },
    webhooks: [{
      name,
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      timeoutSeconds: 30,
      failurePolicy: "Fail",
      clientConfig: {
        url: `https://127.0.0.1:${port}/`,
        caBundle: Buffer.from(readFileSync(world.api.caFile)).toString("base64"),
      },
      rules: [rule(["services", "services/status"], ["UPDATE"]), rule(["events"], ["CREATE", "UPDATE"])],
      namespaceSelector: {
        matchExpressions: [{
          key: "kubernetes.io/metadata.name",
          operator: "In",
          values: of.map((each) => each.name),
        }],
      },
      matchConditions: [{ name: "server", expression: `request.userInfo.username == "${SERVER_USER}"` }],
    }],
  } as KubeObject);
  const server = await openTestClient(await world.api.kubeconfig(SERVER_USER, ["system:masters"]), "tests");
  await waitUntil("the webhook to hang", async () => {
    return await tookLong(server, of[0]?.name ?? "");
  });
  server.close();
  return {
    [Symbol.asyncDispose]: async () => {
      await world.admin.delete(WEBHOOKS, { name });
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

async function tookLong(server: KubeClient, namespace: string): Promise<boolean> {
  const body = { metadata: { labels: { tried: "yes" } } };
  const options = { dryRun: true, timeoutMs: 1_000 };
  return await server.patch<Service>(SERVICES, { namespace, name: "first" }, { type: "merge", body }, options)
    .then(() => false, () => true);
}
