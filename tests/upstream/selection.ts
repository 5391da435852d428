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

/** What is left out of it. */
export const SKIPPED: readonly SkippedTest[] = [
  {
    name:
      "ExternalTrafficPolicy: Local.*should (work for type=LoadBalancer|work from pods|only target nodes|target all nodes)",
    why: "waits for an address before it makes a pod; a node is in the status once it has an endpoint, as with K3s",
  },
  { name: "SCTP", why: "the kernel of many machines has no SCTP, and neither has this data plane" },
];
