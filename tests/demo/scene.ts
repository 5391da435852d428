// What a scene is. A new one is a file in scenes/ and a line in scenes.ts.
import type { Block } from "./render_text.ts";
import type { Stage } from "./stage.ts";

/** One part of the story: something is done to the cluster, and what came of it is shown. */
export interface Scene {
  readonly title: string;
  /** Acts and tells. Throws if what happens is not what the story says. */
  readonly play: (stage: Stage) => Promise<readonly Block[]>;
}

/** A scene whose acting (I/O, gives facts) and showing (pure) stand apart. */
export function scene<Facts>(parts: {
  readonly title: string;
  readonly act: (stage: Stage) => Promise<Facts>;
  readonly show: (facts: Facts) => readonly Block[];
}): Scene {
  return { title: parts.title, play: async (stage) => parts.show(await parts.act(stage)) };
}
