// Scene: a node loses the label of a Service's pool, and gets it back.
import { POOL_LABEL } from "../../../core/service/labels.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ask, ingressIps, LOOK, milliseconds, type Stage, type Target, targetsOf, tryToAsk } from "../stage.ts";
import { POOL, POOLED_SERVICE } from "./services.ts";

interface Step {
  readonly what: string;
  readonly ips: readonly string[];
  readonly tookMs: number;
  /** What the client gets from the node's address. */
  readonly outcome: string;
  readonly isServing: boolean;
}

const NODE = "node3";

/** The pool's label goes and comes. */
export const LABEL_GOES_SCENE = scene({
  title: `${NODE} leaves the pool "${POOL.name}", then comes back`,
  act: async (stage): Promise<readonly Step[]> => {
    const { ns, world } = stage;
    const node = world.node(NODE);
    const [target] = targetsOf(await ns.service(POOLED_SERVICE), [node.ip4]);
    expect(target !== undefined, "there is no address to ask");
    const step = async (what: string, act: () => Promise<void>, isServing: boolean): Promise<Step> => {
      const startMs = performance.now();
      await act();
      const ips = await waitUntil(`${NODE} ${isServing ? "in" : "out of"} the status`, async () => {
        const seen = ingressIps(await ns.service(POOLED_SERVICE));
        return seen.includes(node.ip4) === isServing && seen;
      }, LOOK);
      const tookMs = performance.now() - startMs;
      const outcome = isServing
        ? `answers: ${(await ask(stage, target)).server}`
        : `answers ${await answersUntilRefused(stage, target)} more connections, refuses ` +
          `after ${((performance.now() - startMs) / 1000).toFixed(1)} s`;
      return { what, ips, tookMs, outcome, isServing };
    };
    return [
      await step(`label off ${NODE}`, () => node.unlabel(POOL_LABEL), false),
      await step(`label on ${NODE}`, () => node.label({ [POOL_LABEL]: POOL.name }), true),
    ];
  },
  show: (steps) => [
    {
      kind: "table",
      columns: [
        { title: "what" },
        { title: `addresses of ${POOLED_SERVICE}` },
        { title: "after", align: "right" },
        { title: `${NODE}, asked by the client`, wraps: true },
      ],
      rows: steps.map(({ what, ips, tookMs, outcome, isServing }) => [
        { text: what, tone: "strong" },
        ips.join(" "),
        milliseconds(tookMs),
        { text: outcome, tone: isServing ? "good" : "plain" },
      ]),
    },
    {
      kind: "text",
      tone: "faint",
      text:
        "The status changes at once. The node itself goes on for some seconds, for clients that still have its address.",
    },
  ],
});

/** How many connections are answered until one is refused. */
async function answersUntilRefused(stage: Stage, target: Target): Promise<number> {
  let answers = 0;
  await waitUntil("the address to refuse", async () => {
    const { outcome } = await tryToAsk(stage, target);
    if (outcome === "answer") answers++;
    return outcome === "refused";
  }, { intervalMs: 50 });
  return answers;
}
