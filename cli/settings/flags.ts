// The one flag table: flag, environment variables, config key, type, default, help line and the commands that take it.
// Help, docs/flags.md and the resolving of settings are all made from it. K3s's names are kept where K3s has them
// (k3s `pkg/cli/cmds`, k3s docs "cli/server" and "cli/agent").
import { KLIPPER_HELM_IMAGE, KLIPPER_LB_IMAGE, PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { DEFAULT_LB_CLASS, DEFAULT_SERVICELB_NAMESPACE } from "../../core/service/labels.ts";
import { LOG_LEVELS } from "../../core/shared/log.ts";
import {
  checkAddressAndPort,
  checkDnsLabel,
  checkDnsSubdomain,
  checkEnabledPart,
  checkFolder,
  checkHostEntry,
  checkImage,
  checkIp,
  checkLoadBalancerClass,
  checkNameServer,
  checkNodePortRange,
  checkRegistry,
} from "./check_value.ts";
import { ASK_NODES_FLAG } from "./agent_flags.ts";
import type { Flag } from "./flag.ts";

export { AGENT_FLAGS, DATAPLANE_FLAGS } from "./agent_flags.ts";

/** The config file that is read when no other is named. */
export const DEFAULT_CONFIG_PATH = "/etc/rancher/k3slb/config.yaml";

/** Flags of the log. */
export const LOG_FLAGS = [
  {
    name: "log-level",
    type: "choice",
    values: LOG_LEVELS,
    default: "info",
    placeholder: "LEVEL",
    help: "Least important lines that are logged: debug, info, warn, error",
  },
  {
    name: "log-format",
    type: "choice",
    values: ["text", "json"],
    default: "text",
    placeholder: "FORMAT",
    help: "Form of log lines: text, json",
  },
  {
    name: "debug",
    type: "switch",
    default: false,
    otherEnv: ["K3S_DEBUG"],
    help: "Same as --log-level debug",
  },
] as const satisfies readonly Flag[];

/** The same for commands that end by themselves: what they print says what they did, so that only trouble is logged. */
export const COMMAND_LOG_FLAGS = [
  { ...LOG_FLAGS[0], default: "warn" },
  LOG_FLAGS[1],
  LOG_FLAGS[2],
] as const satisfies readonly Flag[];

/** Where the config file is. */
export const CONFIG_FLAG = {
  name: "config",
  short: "c",
  type: "text",
  default: DEFAULT_CONFIG_PATH,
  otherEnv: ["K3S_CONFIG_FILE"],
  placeholder: "PATH",
  help: "Config file; PATH.d/*.yaml is read after it, in alphabetical order",
} as const satisfies Flag;

/** Credentials for the cluster. */
export const KUBECONFIG_FLAG = {
  name: "kubeconfig",
  type: "text",
  otherEnv: ["KUBECONFIG"],
  placeholder: "PATH",
  help: "Credentials for the cluster; without it the usual places, then in-cluster",
} as const satisfies Flag;

/** Flags of every command that talks to a cluster. */
export const CLUSTER_FLAGS = [
  KUBECONFIG_FLAG,
  {
    name: "servicelb-namespace",
    type: "text",
    default: DEFAULT_SERVICELB_NAMESPACE,
    check: checkDnsLabel,
    placeholder: "NAME",
    help: "Namespace of the load balancer's DaemonSets, pods and election",
  },
] as const satisfies readonly Flag[];

/** The root folder of manifests and charts. */
export const DATA_DIR_FLAG = {
  name: "data-dir",
  short: "d",
  type: "text",
  default: "/var/lib/rancher/k3s",
  otherEnv: ["K3S_DATA_DIR"],
  check: checkFolder,
  placeholder: "PATH",
  help: "Folder that holds server/manifests and server/static/charts",
} as const satisfies Flag;

/** Which node this is. What is a valid name is decided where names are found. */
export const NODE_NAME_FLAG = {
  name: "node-name",
  type: "text",
  otherEnv: ["K3S_NODE_NAME"],
  placeholder: "NAME",
  help: "This node's name in the cluster; found from credentials and host name otherwise",
} as const satisfies Flag;

/** Flags that server and agent share. */
export const COMMON_FLAGS = [
  ...CLUSTER_FLAGS,
  NODE_NAME_FLAG,
  CONFIG_FLAG,
  ...LOG_FLAGS,
] as const satisfies readonly Flag[];

/** Flags of `k3slb server`. */
export const SERVER_FLAGS = [
  {
    name: "disable",
    type: "list",
    default: [],
    aliases: ["no-deploy"],
    placeholder: "NAMES",
    help: "Left out, and removed if deployed: coredns, traefik, servicelb, helm, or names of manifests",
  },
  {
    name: "dataplane",
    type: "choice",
    values: ["agent", "pods"],
    default: "agent",
    placeholder: "KIND",
    help: "Who forwards: agent (k3slb agent on each node) or pods (klipper-lb containers, no agent)",
  },
  {
    name: "lb-image",
    type: "text",
    default: KLIPPER_LB_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
    help: "Image of the load balancer's pods with --dataplane pods",
  },
  {
    name: "pause-image",
    type: "text",
    default: PAUSE_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
    help: "Image of the placeholder pods with --dataplane agent; if not set, one that all nodes have",
  },
  {
    name: "helm-job-image",
    type: "text",
    default: KLIPPER_HELM_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
    help: "Image of the jobs that install HelmCharts",
  },
  {
    name: "system-default-registry",
    type: "text",
    default: "",
    check: checkRegistry,
    placeholder: "HOST",
    help: "Registry put before the names of all packaged images",
  },
  {
    name: "reserve-ports",
    type: "choice",
    values: ["daemonset", "none"],
    default: "daemonset",
    placeholder: "HOW",
    help: "Who keeps ports free for agents: daemonset (pods of each Service) or none (no pods)",
  },
  {
    name: "helm-namespaces",
    type: "list",
    default: [],
    check: checkDnsLabel,
    placeholder: "NAMES",
    help: "Namespaces whose HelmCharts are taken; all, as in K3s, if empty",
  },
  {
    name: "helm-cluster-role",
    type: "text",
    default: "cluster-admin",
    check: checkDnsSubdomain,
    placeholder: "NAME",
    help: "ClusterRole that the jobs of HelmCharts get",
  },
  {
    name: "lb-class",
    type: "text",
    default: DEFAULT_LB_CLASS,
    check: checkLoadBalancerClass,
    placeholder: "NAME",
    help: "Value of spec.loadBalancerClass that is served",
  },
  {
    name: "lb-default",
    type: "switch",
    default: true,
    help: "Also serve Services that name no class",
  },
  {
    name: "status-addresses",
    type: "choice",
    values: ["cluster", "per-node", "k3s"],
    default: "cluster",
    placeholder: "RULE",
    help: "cluster: an external address hides internal ones of its family; k3s: of both; per-node: own",
  },
  {
    name: "service-node-port-range",
    type: "text",
    default: "30000-32767",
    check: checkNodePortRange,
    placeholder: "A-B",
    help: "Ports that are node ports and no load balancer can have; empty for none",
  },
  {
    name: "published-addresses",
    type: "list",
    default: [],
    check: checkHostEntry,
    placeholder: "NODE=IP",
    help: "What the status shows for nodes; what Nodes say by annotation then counts for nothing",
  },
  {
    name: "honor-exclude-label",
    type: "switch",
    default: false,
    help: "Leave out nodes labelled node.kubernetes.io/exclude-from-external-load-balancers; K3s does not",
  },
  {
    name: "cluster-dns",
    type: "list",
    default: [],
    check: checkIp,
    placeholder: "IPS",
    help: "Addresses of the cluster DNS Service; found from the cluster otherwise",
  },
  {
    name: "cluster-domain",
    type: "text",
    default: "cluster.local",
    check: checkDnsSubdomain,
    placeholder: "DOMAIN",
    help: "DNS domain of the cluster",
  },
  {
    name: "dns-upstream",
    type: "list",
    default: [],
    check: checkNameServer,
    placeholder: "IPS",
    help: "Name servers (IP, IP:PORT) that CoreDNS asks for other names; its node's otherwise",
  },
  {
    name: "dns-hosts",
    type: "list",
    default: [],
    check: checkHostEntry,
    placeholder: "NAME=IP",
    help: "Names that CoreDNS answers itself, such as db.example.com=10.0.0.5",
  },
  {
    name: "prune-deleted-manifests",
    type: "switch",
    default: false,
    help: "Delete the objects of a manifest when its file is deleted",
  },
  {
    name: "repair-manifests",
    type: "switch",
    default: false,
    help: "Apply unchanged manifests again every ten minutes, which puts back what others changed",
  },
  {
    name: "leader-elect",
    type: "switch",
    default: true,
    help: "Elect one active server; --no-leader-elect if there is only ever one",
  },
  {
    name: "agent",
    type: "switch",
    default: false,
    help: "Also run this node's agent in the same process",
  },
  {
    name: "metrics-address",
    type: "text",
    default: "127.0.0.1:10260",
    check: checkAddressAndPort,
    placeholder: "IP:PORT",
    help: "Where health and metrics are served; empty for nowhere",
  },
  {
    name: "enable",
    type: "list",
    default: [],
    check: checkEnabledPart,
    placeholder: "NAMES",
    help: "Deployed although the cluster has another of its kind: traefik",
  },
  ASK_NODES_FLAG,
] as const satisfies readonly Flag[];

/** How results are printed. */
export const OUTPUT_FLAG = {
  name: "output",
  short: "o",
  type: "choice",
  values: ["table", "json", "yaml"],
  default: "table",
  commandLineOnly: true,
  placeholder: "FORM",
  help: "Form of the result: table, json, yaml",
} as const satisfies Flag;
