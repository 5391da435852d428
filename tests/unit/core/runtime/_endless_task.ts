// A task that never ends, and one that fails as no one expects.
import { asideTask } from "../../../../core/runtime/aside.ts";

export const endless = asideTask<string, string>({
  name: "endless",
  url: import.meta.url,
  timeoutMs: 200,
  *work(): Generator<string> {
    for (;;) yield* [];
  },
});

export const faulty = asideTask<string, string>({
  name: "faulty",
  url: import.meta.url,
  timeoutMs: 60_000,
  *work(input): Generator<string> {
    yield input;
    throw new TypeError("no string");
  },
});
