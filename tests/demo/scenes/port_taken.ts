// Scene: a Service whose port an older one has: why it is Pending, and what happens when the older one goes.
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ask, ingressIps, LOOK, milliseconds, servedCondition, targetsOf } from "../stage.ts";
import { RIVALS } from "./services.ts";

interface PortFacts {
  readonly condition: { readonly status: string; readonly reason: string; readonly message: string };
  readonly event: { readonly type: string; readonly reason: string; readonly message: string };
}

/** The reason for a Pending Service. */
export const PORT_TAKEN_SCENE = scene({
  title: `Why "${RIVALS.waits}" is pending: it says so itself`,
  act: async ({ ns }): Promise<PortFacts> => {
    const { status, reason = "", message = "" } = await ns.waitForCondition(
      RIVALS.waits,
      (condition) => condition.status === "False" && condition.reason === "PortTaken",
    );
    expect(message.includes(`${ns.name}/${RIVALS.owner}`), `the condition does not name the owner: ${message}`);
    const event = await waitUntil(
      "a Warning that names the owner",
      async () =>
        (await ns.events(RIVALS.waits)).find((each) =>
          each.type === "Warning" && each.message?.includes(`${ns.name}/${RIVALS.owner}`)
        ),
    );
    return {
      condition: { status, reason, message },
      event: { type: event.type ?? "", reason: event.reason ?? "", message: event.message ?? "" },
    };
  },
  show: ({ condition, event }) => [
    {
      kind: "table",
      columns: [{ title: "where" }, { title: "type" }, { title: "reason" }, { title: "message", wraps: true }],
      rows: [
        ["condition k3slb.io/Served", condition.status, { text: condition.reason, tone: "bad" }, condition.message],
        ["Event", event.type, { text: event.reason, tone: "bad" }, event.message],
      ],
    },
  ],
});

/** The port becomes free. */
export const PORT_FREED_SCENE = scene({
  title: `"${RIVALS.owner}" is deleted: "${RIVALS.waits}" takes over the port`,
  act: async (stage) => {
    const { ns, world } = stage;
    const startMs = performance.now();
    const gone = ns.deleteService(RIVALS.owner);
    const service = await waitUntil("the addresses", async () => {
      const seen = await ns.service(RIVALS.waits);
      return ingressIps(seen).length === world.nodes.length && seen;
    }, LOOK);
    const servedMs = performance.now() - startMs;
    await gone;
    for (const target of targetsOf(service, ingressIps(service))) await ask(stage, target);
    return { servedMs, ips: ingressIps(service), condition: servedCondition(await ns.service(RIVALS.waits)) };
  },
  show: ({ servedMs, ips, condition }) => [
    {
      kind: "table",
      columns: [{ title: "service" }, { title: "addresses in its status" }, { title: "served" }, {
        title: "after",
        align: "right",
      }],
      rows: [[
        { text: RIVALS.waits, tone: "strong" },
        { text: ips.join(" "), tone: "good" },
        `${condition.status}, ${condition.reason}`,
        milliseconds(servedMs),
      ]],
    },
  ],
});
