// `k3slb agent cleanup`.
import { K3slbError } from "../core/shared/errors.ts";
import { defineCommand } from "./command.ts";
import { AGENT_FLAGS, CONFIG_FLAG, LOG_FLAGS } from "./flags.ts";

/** Removes everything that the agent made on this node. */
export const AGENT_CLEANUP_COMMAND = defineCommand({
  path: ["agent", "cleanup"],
  summary: "Remove all rules that the agent made on this node",
  description: "Removes every chain and jump that the agent made, in both iptables backends. Safe to run twice.",
  flags: [CONFIG_FLAG, ...LOG_FLAGS, ...AGENT_FLAGS],
  examples: [{ command: "k3slb agent cleanup", note: "after the agent was stopped for good" }],
  pitfalls: ["A running agent puts its rules back within seconds: stop it first."],
  run: () => Promise.reject(new K3slbError("Cleanup is not there yet", { code: "not-there-yet" })),
});
