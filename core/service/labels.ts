// Every name that the load balancer puts on, or reads from, Kubernetes objects. Labels, annotations and Events that K3s has
// keep K3s's names (k3s `pkg/cloudprovider/servicelb.go`); names under `k3slb.io/` are this program's own. Pure.

/** On pods and DaemonSets: the Service they serve. */
export const SERVICE_NAME_LABEL = "svccontroller.k3s.cattle.io/svcname";
/** On pods and DaemonSets: the namespace of the Service they serve. */
export const SERVICE_NAMESPACE_LABEL = "svccontroller.k3s.cattle.io/svcnamespace";
/** On DaemonSets: `"true"` while they select nodes by {@linkcode ENABLE_LABEL}. */
export const NODE_SELECTOR_LABEL = "svccontroller.k3s.cattle.io/nodeselector";
/** On nodes: with any node having the key, only nodes with the value `true` serve. */
export const ENABLE_LABEL = "svccontroller.k3s.cattle.io/enablelb";
/** On nodes and Services: the pool they belong to. */
export const POOL_LABEL = "svccontroller.k3s.cattle.io/lbpool";
/** On nodes: `lbpool.svccontroller.k3s.cattle.io/<pool>=true`, for nodes in several pools. */
export const POOL_LABEL_PREFIX = "lbpool.svccontroller.k3s.cattle.io/";

/** On Services: the priority class of the pods. */
export const PRIORITY_CLASS_ANNOTATION = "svccontroller.k3s.cattle.io/priorityclassname";
/** On Services: tolerations of the pods as a YAML or JSON list. */
export const TOLERATIONS_ANNOTATION = "svccontroller.k3s.cattle.io/tolerations";
/** On Services: source ranges, comma separated (upstream Kubernetes; `spec.loadBalancerSourceRanges` wins). */
export const SOURCE_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges";

/** On Services: `"false"` makes this program leave them alone. */
export const ENABLED_ANNOTATION = "k3slb.io/enabled";
/** On Services: resources of each pod container as a YAML or JSON mapping with `requests` and `limits`. */
export const RESOURCES_ANNOTATION = "k3slb.io/resources";
/** On Services: node addresses or ranges (comma separated) that traffic must be sent to. Others stay free. */
export const MATCH_ADDRESSES_ANNOTATION = "k3slb.io/match-addresses";
/** On Services: interfaces (comma separated) whose addresses traffic must be sent to. Others stay free. */
export const MATCH_INTERFACES_ANNOTATION = "k3slb.io/match-interfaces";
/** On Services: `VIP` or `Proxy` for `status.loadBalancer.ingress[].ipMode`. */
export const IP_MODE_ANNOTATION = "k3slb.io/ip-mode";
/** On Services: the last good texts of wishes that can't be read at present, as a JSON mapping; written by the server. */
export const LAST_GOOD_ANNOTATION = "k3slb.io/last-good";
/** On pods: the node's addresses (comma separated) that the agent serves the Service at, if not at all of them. */
export const SERVED_ADDRESSES_ANNOTATION = "k3slb.io/served-addresses";
/** On Nodes: what the agent serves there, as JSON (node_report.ts); written by the agent. */
export const NODE_REPORT_ANNOTATION = "k3slb.io/served";
/** On the ConfigMap of what the server publishes: a Service that all agents are to connect to (probe_exchange.ts); written by `k3slb probe`. */
export const PROBE_REQUEST_ANNOTATION = "k3slb.io/probe";
/** On Nodes: what came of it there, as JSON; written by the agent, and taken away when the request is. */
export const PROBE_ANSWER_ANNOTATION = "k3slb.io/probed";
/** On Nodes: addresses (comma separated) that the status lists for this node instead of its own. */
export const PUBLISHED_ADDRESSES_ANNOTATION = "k3slb.io/published-addresses";
/** On pods: `agent` or `pods`, the data plane that the pod was made for. */
export const DATAPLANE_LABEL = "k3slb.io/dataplane";

/** On objects that a cluster has once: by it removal tells what was made here from what has the same name. */
export const MANAGED_BY_LABEL = "app.kubernetes.io/managed-by";

/** On DaemonSets: hash of what was applied last, so that fields that are no longer wanted are noticed. */
export const APPLIED_HASH_ANNOTATION = "k3slb.io/applied-hash";

/** On nodes: upstream's wish to stay out of external load balancers. */
export const EXCLUDE_NODE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers";

/** Readiness gate on placeholder pods: `True` once the node's kernel has the rules. */
export const PROGRAMMED_CONDITION = "k3slb.io/Programmed";
/** Its reason on a pod that holds none of its Service's ports: the Service has got others since. */
export const PORT_NOT_HELD_REASON = "PortNotHeld";
/** Condition on Services: whether and where they are served, else why not. */
export const SERVED_CONDITION = "k3slb.io/Served";
/** Condition on Nodes: the agent's heartbeat. */
export const FORWARDING_CONDITION = "k3slb.io/Forwarding";

/** Finalizer of upstream's service controller. */
export const SERVICE_FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
/** Finalizer of old K3s versions, removed when seen. */
export const OLD_SERVICE_FINALIZER = "svccontroller.k3s.cattle.io/daemonset";

/** `spec.loadBalancerClass` that this program serves unless told otherwise. */
export const DEFAULT_LB_CLASS = "k3slb.io/node-addresses";
/** Namespace of DaemonSets, pods and the election unless told otherwise. */
export const DEFAULT_SERVICELB_NAMESPACE = "kube-system";
/** ServiceAccount of the DaemonSets' pods; it has no rights. */
export const POD_SERVICE_ACCOUNT = "svclb";
/** ClusterRole and its binding that let nodes read EndpointSlices. */
export const ENDPOINT_READER_ROLE = "k3slb-endpoint-reader";
/** Role and its binding that let nodes read what the server publishes for their agents. */
export const FACTS_READER_ROLE = "k3slb-agent-facts";
/** Name of the election Lease. */
export const ELECTION_LEASE_NAME = "k3slb-server";

/** Who forwards: the agent's rules, or privileged pods as K3s has them. */
export type DataplaneName = "agent" | "pods";
