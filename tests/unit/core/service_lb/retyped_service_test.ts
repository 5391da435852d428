// A Service that ceases to be a load balancer while something is written to it, and is deleted a moment later or before, is let go of all the same.
import { equal } from "node:assert/strict";
import { DAEMON_SETS, NODES, SERVICES } from "../../../../core/kube/resources.ts";
import { createInProcess } from "../../../support/memory_api/in_process.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";
import { loadBalancer, startQuietly } from "./controller_cluster.ts";

const MOMENTS = [
  { first: "retype", when: "after", at: "patch services" },
  { first: "retype", when: "before", at: "apply services/status" },
  { first: "retype", when: "after", at: "apply services/status" },
  { first: "delete", when: "before", at: "patch services" },
];

for (const { first, when, at } of MOMENTS) {
  Deno.test(`startServiceLb() lets go of a Service: ${first} first, change its type right ${when} "${at}"`, async () => {
    const clock = createFakeClock();
    const key = { namespace: "default", name: "web" };
    let next = first === "retype" ? "retype" : "serve";
    const noteWrite = async (now: string, verb: string, resource: string): Promise<void> => {
      if (next === "retype" && now === when && `${verb} ${resource}` === at) {
        next = first === "retype" ? "delete" : "none";
        await client.patch(SERVICES, key, { type: "merge", body: { spec: { type: "ClusterIP" } } });
      } else if (next === "delete" && now === "after" && resource === "services/status") {
        next = "none";
        await client.delete(SERVICES, key);
      }
    };
    const { client, objects, stop } = createInProcess({
      now: () => new Date(clock.now()),
      controllers: ["daemonSets", "garbageCollector"],
    });
    const watched = new Proxy(client, {
      get: (target, verb: "apply" | "patch"): unknown => {
        const method = target[verb];
        if (typeof method !== "function") return method;
        if (verb !== "apply" && verb !== "patch") return (method as () => unknown).bind(target);
        return async (...args: Parameters<typeof method>) => {
          if (nameOf(args[1]) !== key.name) return await Reflect.apply(method, target, args);
          const { subresource } = args.at(-1) as { readonly subresource?: string };
          const resource = [args[0].plural, subresource].filter((each) => each !== undefined).join("/");
          await noteWrite("before", verb, resource);
          const written: unknown = await Reflect.apply(method, target, args);
          await noteWrite("after", verb, resource);
          return written;
        };
      },
    });
    objects(NODES).put({ metadata: { name: "n1", labels: { "kubernetes.io/os": "linux" } } });
    const end = new AbortController();
    const { done } = startQuietly({ client: watched, clock, signal: end.signal });
    try {
      await clock.advance(1_000);
      // Whose port is another's has its condition at once.
      await client.create(SERVICES, loadBalancer("first", 80));
      await clock.advance(1_000);
      await client.create(SERVICES, loadBalancer("web", 80));
      await clock.advance(60_000);
      if (first === "delete") {
        next = "retype";
        await client.delete(SERVICES, key);
        await clock.advance(60_000);
      }
      equal(next, "none");
      equal(objects(SERVICES).get("default/web"), undefined);
      equal(objects(DAEMON_SETS).values().length, 1);
    } finally {
      end.abort();
      await done;
      stop();
    }
  });
}

function nameOf(
  { name, metadata }: { readonly name?: string; readonly metadata?: { readonly name?: string } },
): string {
  return name ?? metadata?.name ?? "";
}
