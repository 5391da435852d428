// Many names in few words. Pure.

/** The first `most` of `names`, and how many more there are. */
export function nameList(names: readonly string[], most = 6): string {
  if (names.length <= most) return names.join(", ");
  return `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
}
