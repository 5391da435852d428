// What a server with its defaults publishes for agents.
import type { ClusterFacts } from "../../core/service/cluster_facts.ts";

/** A quiet cluster. */
export const CLUSTER_FACTS: ClusterFacts = {
  server: "0.1.0",
  dataplane: "agent",
  reservePorts: "daemonset",
  lbClass: "k3slb.io/node-addresses",
  lbDefault: true,
  allowList: false,
  honorExcludeLabel: false,
  foreign: [],
  contested: new Map(),
  nodes: new Map(),
};
