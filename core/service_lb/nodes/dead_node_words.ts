// What is said of a node that has stopped answering, and how it is read again: the server alone knows it, and `explain` has its words. Pure.

/** The words. @param since When it answered last, in ISO 8601 */
export function deadNodeWords(ip: string, since: string): string {
  return `the node has not answered the server at ${ip} since ${since}`;
}

/** Nodes of which the condition's message says so, with the words. */
export function readDeadNodes(message: string): ReadonlyMap<string, string> {
  const found = message.matchAll(
    /(?:^|\. )([a-z0-9.-]+): (the node has not answered the server at \S+ since [0-9TZ:-]+)/g,
  );
  return new Map([...found].map(([, node = "", words = ""]) => [node, words]));
}
