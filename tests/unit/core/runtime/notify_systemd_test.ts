import assert from "node:assert/strict";
import { createSystemdNotifier } from "../../../../core/runtime/notify_systemd.ts";
import { createLogger } from "../../../../core/shared/log.ts";

function start(env: Record<string, string>, isFailing = false): {
  readonly notifier: ReturnType<typeof createSystemdNotifier>;
  readonly sent: string[];
  readonly log: string[];
} {
  const sent: string[] = [];
  const log: string[] = [];
  const notifier = createSystemdNotifier({
    env,
    logger: createLogger({ level: "info", format: "text", write: (line) => log.push(line), now: () => 0 }),
    run: (args) => {
      sent.push(args.join(" "));
      return isFailing ? Promise.reject(new Error("no program")) : Promise.resolve();
    },
  });
  return { notifier, sent, log };
}

Deno.test("notifier sends messages in order, each as one line", async () => {
  const { notifier, sent } = start({ NOTIFY_SOCKET: "/run/x" });
  void notifier.ready("two\nlines");
  await notifier.stopping();
  assert.deepEqual(sent, ["READY=1 STATUS=two lines", "STOPPING=1"]);
});

Deno.test("notifier is silent outside of systemd, and logs a failure once", async () => {
  const outside = start({});
  await outside.notifier.ready("up");
  assert.deepEqual(outside.sent, []);
  const failing = start({ NOTIFY_SOCKET: "/run/x" }, true);
  await failing.notifier.ready("up");
  await failing.notifier.stopping();
  assert.equal(failing.log.length, 1);
});
