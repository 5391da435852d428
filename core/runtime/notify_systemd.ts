// Tells systemd how the service is doing, see sd_notify(3). `node:` has no Unix datagram sockets, so the program
// `systemd-notify` sends the message; the unit needs `NotifyAccess=all`, as the message comes from another process.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { errorMessage } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { visibleLine } from "../shared/visible_text.ts";

/** What {@linkcode createSystemdNotifier} takes. */
export interface SystemdNotifierOptions {
  /** The process's environment; without `NOTIFY_SOCKET` nothing is sent. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
  /** Runs `systemd-notify` with arguments; tests replace it. */
  readonly run?: (args: readonly string[], env: Readonly<Record<string, string | undefined>>) => Promise<void>;
}

/** Messages to systemd, sent in order. No method throws or rejects. */
export interface SystemdNotifier {
  /** The service is up. */
  ready(status: string): Promise<void>;
  /** The service has begun to stop. */
  stopping(): Promise<void>;
}

/** A notifier; it does nothing outside of systemd. */
export function createSystemdNotifier(options: SystemdNotifierOptions): SystemdNotifier {
  const { env, logger, run = runSystemdNotify } = options;
  const isActive = (env["NOTIFY_SOCKET"] ?? "") !== "";
  let tail: Promise<void> = Promise.resolve();
  let isFailing = false;
  const send = (messages: readonly string[]): Promise<void> => {
    if (!isActive) return tail;
    tail = tail.then(() => run(messages, env)).then(() => {
      isFailing = false;
    }).catch((error: unknown) => {
      if (!isFailing) logger.warn("Cannot notify systemd", { error: errorMessage(error) });
      isFailing = true;
    });
    return tail;
  };
  return {
    ready: (status) => send(["READY=1", `STATUS=${visibleLine(status)}`]),
    stopping: () => send(["STOPPING=1"]),
  };
}

async function runSystemdNotify(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  await promisify(execFile)("systemd-notify", [...args], { env: { ...env }, timeout: TIMEOUT_MS });
}

const TIMEOUT_MS = 5000;
