// The one flag table: flag, environment variables, config key, type, default, help line and the commands that take it.
// Help, docs/flags.md and the resolving of settings are all made from it. K3s's names are kept where K3s has them
// (k3s `pkg/cli/cmds`, k3s docs "cli/server" and "cli/agent").
import { DEFAULT_SERVICELB_NAMESPACE } from "../../core/service/labels.ts";
import { LOG_LEVELS } from "../../core/shared/log.ts";
import { checkDnsLabel, checkFolder } from "./check_value.ts";
import { AGENT_FLAGS } from "./agent_flags.ts";
import { choiceFlag, type Flag, switchFlag, textFlag } from "./flag.ts";
import { SERVER_FLAGS } from "./server_flags.ts";

export { DATAPLANE_FLAGS } from "./agent_flags.ts";
export { IMAGE_FLAGS } from "./server_flags.ts";
export { AGENT_FLAGS, SERVER_FLAGS };

/** The config file that is read when no other is named. */
export const DEFAULT_CONFIG_PATH = "/etc/rancher/k3slb/config.yaml";

/** Flags of the log. */
const LOG_FLAGS = [
  choiceFlag("log-level", "Least important lines that are logged: debug, info, warn, error", {
    values: LOG_LEVELS,
    default: "info",
    placeholder: "LEVEL",
  }),
  choiceFlag("log-format", "Form of log lines: text, json", {
    values: ["text", "json"],
    default: "text",
    placeholder: "FORMAT",
  }),
  switchFlag("debug", "Same as --log-level debug", { otherEnv: ["K3S_DEBUG"] }),
] as const satisfies readonly Flag[];

/** The same for commands that end by themselves: what they print says what they did, so that only trouble is logged. */
export const COMMAND_LOG_FLAGS = [
  { ...LOG_FLAGS[0], default: "warn" },
  LOG_FLAGS[1],
  LOG_FLAGS[2],
] as const satisfies readonly Flag[];

/** Where the config file is. */
export const CONFIG_FLAG = textFlag("config", "Config file; PATH.d/*.yaml is read after it, in alphabetical order", {
  short: "c",
  default: DEFAULT_CONFIG_PATH,
  otherEnv: ["K3S_CONFIG_FILE"],
  placeholder: "PATH",
});

/** Credentials for the cluster. */
export const KUBECONFIG_FLAG = textFlag(
  "kubeconfig",
  "Credentials for the cluster; without it the usual places, then in-cluster",
  { otherEnv: ["KUBECONFIG"], placeholder: "PATH" },
);

/** Flags of every command that talks to a cluster. */
export const CLUSTER_FLAGS = [
  KUBECONFIG_FLAG,
  textFlag("servicelb-namespace", "Namespace of the load balancer's DaemonSets, pods and election", {
    default: DEFAULT_SERVICELB_NAMESPACE,
    check: checkDnsLabel,
    placeholder: "NAME",
  }),
] as const satisfies readonly Flag[];

/** The root folder of manifests and charts. */
export const DATA_DIR_FLAG = textFlag("data-dir", "Folder that holds server/manifests and server/static/charts", {
  short: "d",
  default: "/var/lib/rancher/k3s",
  otherEnv: ["K3S_DATA_DIR"],
  check: checkFolder,
  placeholder: "PATH",
});

/** Which node this is. What is a valid name is decided where names are found. */
export const NODE_NAME_FLAG = textFlag(
  "node-name",
  "This node's name in the cluster; found from credentials and host name otherwise",
  { otherEnv: ["K3S_NODE_NAME"], placeholder: "NAME" },
);

/** Flags that server and agent share. */
export const COMMON_FLAGS = [
  ...CLUSTER_FLAGS,
  NODE_NAME_FLAG,
  CONFIG_FLAG,
  ...LOG_FLAGS,
] as const satisfies readonly Flag[];

/** Every flag, of any command, that a config file or the environment may set. */
export const CONFIG_FILE_FLAGS = [
  ...COMMON_FLAGS,
  DATA_DIR_FLAG,
  ...SERVER_FLAGS,
  ...AGENT_FLAGS,
] as const satisfies readonly Flag[];

/** How results are printed. */
export const OUTPUT_FLAG = choiceFlag("output", "Form of the result: table, json, yaml", {
  short: "o",
  values: ["table", "json", "yaml"],
  default: "table",
  commandLineOnly: true,
  placeholder: "FORM",
});

/** How results with more columns than a screen has are printed. */
export const WIDE_OUTPUT_FLAG = {
  ...OUTPUT_FLAG,
  values: ["table", "wide", "json", "yaml"],
  help: "Form of the result: table, wide (more columns, nothing left out), json, yaml",
} as const satisfies Flag;
