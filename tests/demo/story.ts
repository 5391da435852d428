// Holds the cluster to the story that the demo tells.

/** The cluster did something else than the story says. */
export class StoryError extends Error {
  override readonly name = "StoryError";
}

/**
 * Holds the cluster to the story.
 *
 * @throws {StoryError} if `holds` is false
 */
export function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new StoryError(`Not as the story says: ${what}`);
}
