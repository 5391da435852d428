// The agent's part of the flag table (flags.ts).
import { DEFAULT_MAX_SERVICE_RULES } from "../../node_agent/agent_options.ts";
import { DEFAULT_RESERVED_PORTS } from "../../node_agent/loop/plan/reserved_ports.ts";
import { DEFAULT_MARK_BITS } from "../../node_agent/rules/parse_mark_bits.ts";
import { checkAddressAndPort, checkCount, checkPortRange } from "./check_value.ts";
import { choiceFlag, type Flag, listFlag, switchFlag, textFlag } from "./flag.ts";

/** Flags of all that touches the kernel's rules. */
export const DATAPLANE_FLAGS = [
  choiceFlag("iptables-mode", "Backend of iptables: auto (what the kubelet uses), nft, legacy", {
    values: ["auto", "nft", "legacy"],
    default: "auto",
    placeholder: "MODE",
  }),
  textFlag("mark-bits", "Packet mark bits: ours, masquerade, drop, reject", {
    default: DEFAULT_MARK_BITS,
    placeholder: "BITS",
  }),
] as const satisfies readonly Flag[];

/** Both programs ask. */
export const ASK_NODES_FLAG = switchFlag(
  "ask-nodes",
  "Ask other nodes every few seconds whether they are there, and pass over those that died",
  { default: true },
);

/** Flags of `k3slb agent`. */
export const AGENT_FLAGS = [
  ...DATAPLANE_FLAGS,
  switchFlag("allow-port-override", "Serve a port even if a process of the host listens on it"),
  listFlag("reserved-ports", "Ports that no Service gets, in place of SSH, etcd, API servers, kubelet and health", {
    default: DEFAULT_RESERVED_PORTS,
    check: checkPortRange,
    placeholder: "PORTS",
  }),
  textFlag(
    "max-service-rules",
    "Rules that one Service may ask of a node: ports times endpoints, source ranges, matched addresses",
    { default: String(DEFAULT_MAX_SERVICE_RULES), check: checkCount, placeholder: "NUMBER" },
  ),
  textFlag("metrics-address", "Where health and metrics are served; empty for nowhere", {
    default: "127.0.0.1:10261",
    check: checkAddressAndPort,
    placeholder: "IP:PORT",
  }),
  ASK_NODES_FLAG,
  switchFlag("remove-rules", "Remove all rules and wait to be stopped: before pods of agents are deleted"),
] as const satisfies readonly Flag[];
