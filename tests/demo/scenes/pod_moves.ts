// Scene: a Service's only pod is replaced by one on another node while the client goes on connecting.
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { milliseconds, type Target, targetsOf, tryToAsk } from "../stage.ts";
import { RIVALS, STOP_AFTER_MS } from "./services.ts";

interface Try {
  /** Milliseconds after the old pod's deletion at which the connection was started. */
  readonly startMs: number;
  /** Name of the pod, or what happened instead of an answer. */
  readonly result: string;
}

interface MoveFacts {
  readonly asked: string;
  readonly target: Target;
  readonly tries: readonly Try[];
}

/** The app of the moving pod. */
const APP = RIVALS.owner;
const FROM = "node1";
const TO = "node3";
/** Answers of the new pod in a row after which the move counts as done. */
const SETTLED = 30;

/** Traffic follows a pod. */
export const POD_MOVES_SCENE = scene({
  title: `The only pod of "${APP}" moves from ${FROM} to ${TO} while the client goes on connecting`,
  act: async (stage): Promise<readonly MoveFacts[]> => {
    const [old, fresh] = [`${APP}-${FROM}`, `${APP}-${TO}`];
    const service = await stage.ns.service(APP);
    const moved: { atMs?: number } = {};
    const askUntilMoved = async (target: Target): Promise<MoveFacts> => {
      const tries: Try[] = [];
      const isMoved = (): boolean =>
        tries.length >= SETTLED && tries.slice(-SETTLED).every(({ result }) => result === fresh);
      await waitUntil(`${fresh} to answer alone`, async () => {
        const startMs = performance.now();
        const answer = await tryToAsk(stage, target);
        const result = answer.outcome === "answer" ? answer.server : answer.outcome;
        if (moved.atMs === undefined) return false;
        tries.push({ startMs: startMs - moved.atMs, result });
        return isMoved();
      }, { intervalMs: 2 });
      return { asked: stage.world.nodes.find(({ ip4 }) => ip4 === target.ip)?.name ?? "", target, tries };
    };
    const asking = Promise.all(targetsOf(service, stage.world.nodeIps).map(askUntilMoved));
    await stage.ns.createApp({ name: APP, nodes: [TO], stopAfterMs: STOP_AFTER_MS });
    moved.atMs = performance.now();
    await stage.ns.deletePod(old);
    const facts = await asking;
    for (const { tries } of facts) {
      const failures = tries.filter(({ result }) => result !== fresh && result !== old);
      expect(failures.length === 0, `connections failed during the move: ${JSON.stringify(failures)}`);
      expect(
        movedMs(tries) < STOP_AFTER_MS,
        `the old pod still gets connections ${STOP_AFTER_MS} ms after its deletion`,
      );
    }
    return facts;
  },
  show: (facts) => [
    {
      kind: "table",
      columns: [
        { title: "asked" },
        { title: "connections", align: "right" },
        { title: "old pod", align: "right" },
        { title: "new pod", align: "right" },
        { title: "failed", align: "right" },
        { title: "only the new pod", wraps: true },
      ],
      rows: facts.map(({ asked, tries }) => {
        const count = (pod: string): number => tries.filter(({ result }) => result === pod).length;
        const [old, fresh] = [count(`${APP}-${FROM}`), count(`${APP}-${TO}`)];
        const failed = tries.length - old - fresh;
        return [
          { text: asked, tone: "strong" },
          String(tries.length),
          String(old),
          String(fresh),
          { text: String(failed), tone: failed === 0 ? "good" : "bad" },
          `${milliseconds(movedMs(tries))} after the old one was deleted`,
        ];
      }),
    },
    {
      kind: "text",
      tone: "faint",
      text:
        `The old pod goes on answering for ${
          STOP_AFTER_MS / 1000
        } s after it was deleted, as a preStop hook makes it; ` +
        "only then it is gone. The counts begin with its deletion.",
    },
  ],
});

/** When the first connection was started after which only the new pod answered. */
function movedMs(tries: readonly Try[]): number {
  const last = tries.findLastIndex(({ result }) => result !== `${APP}-${TO}`);
  return Math.max(0, tries[last + 1]?.startMs ?? 0);
}
