// Which of Kubernetes' own tests are run, and which of those are left out, with the reason. Regular expressions over their full names.

/** One test that is left out. */
export interface SkippedTest {
  readonly name: string;
  readonly why: string;
}

/** What is run. */
export const FOCUS: readonly string[] = [
  "\\[sig-network\\] LoadBalancers",
  "\\[sig-network\\] Conntrack",
  "\\[sig-network\\] HostPort",
  "\\[sig-network\\] Services.*(session affinity|externalTrafficPolicy|externallTrafficPolicy|ExternalIP|LoadBalancer|different protocol)",
];

/** Those of them that are run on two nodes, the fewest that they take: a quarter of an hour each on three. */
export const ROLLOUTS: readonly string[] = [
  "\\[sig-network\\] LoadBalancers .*should not have connectivity disruption",
];

/**
 * Those that ask one node's address until different pods answer: under policy Local that is asked of a node that has all of them.
 */
export const ON_ONE_NODE: readonly string[] = [
  "\\[sig-network\\] LoadBalancers .*switch session affinity for LoadBalancer service with Local traffic policy",
];

/** Those that are changed before they are run: see waiting_tests.ts. */
export const CHANGED =
  /ExternalTrafficPolicy: Local.*should (work for type=LoadBalancer|work from pods|only target nodes|target all nodes)/;

/** What is left out of it. */
export const SKIPPED: readonly SkippedTest[] = [
  { name: "SCTP", why: "the kernel of many machines has no SCTP, and neither has this data plane" },
];
