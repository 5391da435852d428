// The server's part of the flag table (flags.ts).
import { KLIPPER_HELM_IMAGE, KLIPPER_LB_IMAGE, PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { DEFAULT_LB_CLASS } from "../../core/service/labels.ts";
import { ASK_NODES_FLAG } from "./agent_flags.ts";
import {
  checkAddressAndPort,
  checkDnsLabel,
  checkDnsSubdomain,
  checkEnabledPart,
  checkHostEntry,
  checkImage,
  checkIp,
  checkLoadBalancerClass,
  checkNameServer,
  checkNodePortRange,
  checkRegistry,
} from "./check_value.ts";
import { choiceFlag, type Flag, listFlag, switchFlag, textFlag } from "./flag.ts";

/** Flags of `k3slb server` that decide what is pulled, so that `k3slb images` takes them too. */
export const IMAGE_FLAGS = [
  listFlag("disable", "Left out, and removed if deployed: coredns, traefik, servicelb, helm, or names of manifests", {
    aliases: ["no-deploy"],
    placeholder: "NAMES",
  }),
  choiceFlag("dataplane", "Who forwards: agent (k3slb agent on each node) or pods (klipper-lb containers, no agent)", {
    values: ["agent", "pods"],
    default: "agent",
    placeholder: "KIND",
  }),
  textFlag("lb-image", "Image of the load balancer's pods with --dataplane pods", {
    default: KLIPPER_LB_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
  }),
  textFlag("pause-image", "Image of the placeholder pods with --dataplane agent; if not set, one that all nodes have", {
    default: PAUSE_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
  }),
  textFlag("helm-job-image", "Image of the jobs that install HelmCharts", {
    default: KLIPPER_HELM_IMAGE,
    check: checkImage,
    placeholder: "IMAGE",
  }),
  textFlag("system-default-registry", "Registry put before the names of all packaged images", {
    default: "",
    check: checkRegistry,
    placeholder: "HOST",
  }),
  choiceFlag("reserve-ports", "Who keeps ports free for agents: daemonset (pods of each Service) or none (no pods)", {
    values: ["daemonset", "none"],
    default: "daemonset",
    placeholder: "HOW",
  }),
] as const satisfies readonly Flag[];

/** Flags of `k3slb server`. */
export const SERVER_FLAGS = [
  ...IMAGE_FLAGS,
  listFlag("helm-namespaces", "Namespaces whose HelmCharts are taken; all, as in K3s, if empty", {
    check: checkDnsLabel,
    placeholder: "NAMES",
  }),
  textFlag("helm-cluster-role", "ClusterRole that the jobs of HelmCharts get", {
    default: "cluster-admin",
    check: checkDnsSubdomain,
    placeholder: "NAME",
  }),
  textFlag("lb-class", "Value of spec.loadBalancerClass that is served", {
    default: DEFAULT_LB_CLASS,
    check: checkLoadBalancerClass,
    placeholder: "NAME",
  }),
  switchFlag("lb-default", "Also serve Services that name no class", { default: true }),
  choiceFlag(
    "status-addresses",
    "cluster: an external address hides internal ones of its family; k3s: of both; per-node: own",
    { values: ["cluster", "per-node", "k3s"], default: "cluster", placeholder: "RULE" },
  ),
  textFlag("service-node-port-range", "Ports that are node ports and no load balancer can have; empty for none", {
    default: "30000-32767",
    check: checkNodePortRange,
    placeholder: "A-B",
  }),
  listFlag(
    "published-addresses",
    "What the status shows for nodes; what Nodes say by annotation then counts for nothing",
    { check: checkHostEntry, placeholder: "NODE=IP" },
  ),
  switchFlag(
    "honor-exclude-label",
    "Leave out nodes labelled node.kubernetes.io/exclude-from-external-load-balancers; K3s does not",
  ),
  listFlag("cluster-dns", "Addresses of the cluster DNS Service; found from the cluster otherwise", {
    check: checkIp,
    placeholder: "IPS",
  }),
  textFlag("cluster-domain", "DNS domain of the cluster", {
    default: "cluster.local",
    check: checkDnsSubdomain,
    placeholder: "DOMAIN",
  }),
  listFlag("dns-upstream", "Name servers (IP, IP:PORT) that CoreDNS asks for other names; its node's otherwise", {
    check: checkNameServer,
    placeholder: "IPS",
  }),
  listFlag("dns-hosts", "Names that CoreDNS answers itself, such as db.example.com=10.0.0.5", {
    check: checkHostEntry,
    placeholder: "NAME=IP",
  }),
  switchFlag("prune-deleted-manifests", "Delete the objects of a manifest when its file is deleted"),
  switchFlag(
    "repair-manifests",
    "Apply unchanged manifests again every ten minutes, which puts back what others changed",
  ),
  switchFlag("leader-elect", "Elect one active server; --no-leader-elect if there is only ever one", { default: true }),
  switchFlag("agent", "Also run this node's agent in the same process"),
  textFlag("metrics-address", "Where health and metrics are served; empty for nowhere", {
    default: "127.0.0.1:10260",
    check: checkAddressAndPort,
    placeholder: "IP:PORT",
  }),
  listFlag("enable", "Deployed although the cluster has another of its kind: traefik", {
    check: checkEnabledPart,
    placeholder: "NAMES",
  }),
  ASK_NODES_FLAG,
] as const satisfies readonly Flag[];
