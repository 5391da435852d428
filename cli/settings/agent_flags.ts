// The agent's part of the flag table (flags.ts).
import { DEFAULT_RESERVED_PORTS } from "../../node_agent/loop/plan/reserved_ports.ts";
import { DEFAULT_MAX_SERVICE_RULES } from "../../node_agent/loop/plan/service_decision.ts";
import { DEFAULT_MARK_BITS } from "../../node_agent/rules/parse_mark_bits.ts";
import { checkAddressAndPort, checkCount, checkPortRange } from "./check_value.ts";
import type { Flag } from "./flag.ts";

/** Flags of all that touches the kernel's rules. */
export const DATAPLANE_FLAGS = [
  {
    name: "iptables-mode",
    type: "choice",
    values: ["auto", "nft", "legacy"],
    default: "auto",
    placeholder: "MODE",
    help: "Backend of iptables: auto (what the kubelet uses), nft, legacy",
  },
  {
    name: "mark-bits",
    type: "text",
    default: DEFAULT_MARK_BITS,
    placeholder: "BITS",
    help: "Packet mark bits: ours, masquerade, drop, reject",
  },
] as const satisfies readonly Flag[];

/** Both programs ask. */
export const ASK_NODES_FLAG = {
  name: "ask-nodes",
  type: "switch",
  default: true,
  help: "Ask other nodes each second whether they are there, and pass over those that died",
} as const satisfies Flag;

/** Flags of `k3slb agent`. */
export const AGENT_FLAGS = [
  ...DATAPLANE_FLAGS,
  {
    name: "allow-port-override",
    type: "switch",
    default: false,
    help: "Serve a port even if a process of the host listens on it",
  },
  {
    name: "reserved-ports",
    type: "list",
    default: DEFAULT_RESERVED_PORTS,
    check: checkPortRange,
    placeholder: "PORTS",
    help: "Ports that no Service gets, in place of SSH, etcd, API servers, kubelet and health",
  },
  {
    name: "max-service-rules",
    type: "text",
    default: String(DEFAULT_MAX_SERVICE_RULES),
    check: checkCount,
    placeholder: "NUMBER",
    help: "Rules that one Service may ask of a node: ports times endpoints, source ranges, matched addresses",
  },
  {
    name: "metrics-address",
    type: "text",
    default: "127.0.0.1:10261",
    check: checkAddressAndPort,
    placeholder: "IP:PORT",
    help: "Where health and metrics are served; empty for nowhere",
  },
  ASK_NODES_FLAG,
  {
    name: "remove-rules",
    type: "switch",
    default: false,
    help: "Remove all rules and wait to be stopped: before pods of agents are deleted",
  },
] as const satisfies readonly Flag[];
