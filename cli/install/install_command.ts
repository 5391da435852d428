// `k3slb install` and `k3slb uninstall`: this program as a service of this host, and back.
import { removeObject } from "../../core/kube/one_object.ts";
import { LEASES } from "../../core/kube/resources.ts";
import { ELECTION_LEASE_NAME } from "../../core/service/labels.ts";
import { removeServiceLb } from "../../core/service_lb/groundwork/remove_service_lb.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import { AGENT_CLEANUP_COMMAND } from "../programs/agent_cleanup_command.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { type Settings, switchFlag } from "../settings/flag.ts";
import { CLUSTER_FLAGS, COMMAND_LOG_FLAGS, CONFIG_FILE_FLAGS, DATA_DIR_FLAG } from "../settings/flags.ts";
import { carryOut, describeStep, readHostState } from "./install_host.ts";
import { installPlan, type InstallTexts, type Role, type Step, uninstallPlan } from "./install_plan.ts";
import { didYouMean } from "../../core/shared/nearest_name.ts";
import { renderCompletion } from "../output/render_completion.ts";
import { renderConfig } from "../output/render_config.ts";

const ROLES: readonly Role[] = ["server", "agent"];
const OPERANDS = { usage: ROLES.join("|"), min: 1, max: 1 };

const DRY_RUN_FLAG = switchFlag("dry-run", "Print what would be done, do nothing", { commandLineOnly: true });

const START_FLAG = switchFlag("start", "Start it now; --no-start: at the next boot", {
  default: true,
  commandLineOnly: true,
});

const CLUSTER_FLAG = switchFlag(
  "cluster",
  "With server: also remove the load balancer's DaemonSets, addresses and conditions from the cluster",
  { commandLineOnly: true },
);

const TEXTS: InstallTexts = {
  config: renderConfig(CONFIG_FILE_FLAGS),
  completion: renderCompletion("bash"),
};

/** Installs. */
export const INSTALL_COMMAND = defineCommand({
  path: ["install"],
  summary: "Install this program as a service of this host: server or agent",
  description: [
    "Copies the program to /usr/local/bin, writes the unit (systemd, or OpenRC's start script), an environment file, a config",
    "file with every option commented out, and the completion script, then enables and starts the service. Run again it",
    "changes what is different, and starts nothing again that has not changed.",
  ].join("\n"),
  operands: OPERANDS,
  flags: [DRY_RUN_FLAG, START_FLAG, DATA_DIR_FLAG, ...COMMAND_LOG_FLAGS],
  examples: [
    { command: "k3slb install server", note: "on a node with an administrator's kubeconfig" },
    { command: "k3slb install agent", note: "on every node that should take traffic" },
    { command: "k3slb install agent --dry-run", note: "what it would do" },
  ],
  pitfalls: [
    "Settings belong in the config file or the environment file: the unit is written anew by each installation.",
  ],
  run: async (settings, context) => {
    const role = roleOf(context);
    const isDryRun = settings["dry-run"];
    const host = await readHostState(role, isDryRun);
    const wish = { role, dataDir: settings["data-dir"], start: settings.start };
    const steps = installPlan(wish, TEXTS, host);
    await follow(steps, { isDryRun, context });
    if (steps.length === 0) context.host.stdout(`k3slb-${role} is installed as it should be\n`);
    return EXIT_OK;
  },
});

/** Takes an installation back. */
export const UNINSTALL_COMMAND = defineCommand({
  path: ["uninstall"],
  summary: "Remove the service, its rules and the files that install made",
  description: [
    "Stops the service and removes it. With agent also all rules in the kernel, and this node's condition. Files that somebody",
    "changed stay and are named.",
  ].join("\n"),
  operands: OPERANDS,
  flags: [DRY_RUN_FLAG, CLUSTER_FLAG, ...CLUSTER_FLAGS, DATA_DIR_FLAG, ...COMMAND_LOG_FLAGS],
  examples: [
    { command: "k3slb uninstall agent", note: "this node forwards no more" },
    { command: "k3slb uninstall server --cluster", note: "the last server: Services lose their addresses, too" },
  ],
  pitfalls: [
    "Charts and manifests that were deployed stay in the cluster: start the server with --disable first to remove them.",
  ],
  run: async (settings, context) => {
    const role = roleOf(context);
    const isDryRun = settings["dry-run"];
    const host = await readHostState(role, isDryRun);
    const steps = uninstallPlan(
      { role, cluster: settings.cluster, dataDir: settings["data-dir"] },
      TEXTS,
      host,
    );
    await follow(steps, { isDryRun, context, cluster: () => removeFromCluster(settings, context) });
    return EXIT_OK;
  },
});

interface Following {
  readonly isDryRun: boolean;
  readonly context: CommandContext;
  readonly cluster?: () => Promise<void>;
}

async function follow(steps: readonly Step[], { isDryRun, context, cluster }: Following): Promise<void> {
  for (const step of steps) {
    context.host.stdout(`${describeStep(step)}\n`);
    if (isDryRun || step.do === "leave") continue;
    if (step.do !== "clean up") await carryOut(step);
    else if (step.what === "cluster") await cluster?.();
    else await AGENT_CLEANUP_COMMAND.run(context.resolveOther(AGENT_CLEANUP_COMMAND.flags), context);
  }
}

async function removeFromCluster(settings: Settings<typeof CLUSTER_FLAGS>, context: CommandContext): Promise<void> {
  const { log, signal } = context;
  const namespace = settings["servicelb-namespace"];
  await withCluster({ kubeconfig: settings.kubeconfig, asServer: true }, context, async (client) => {
    await removeServiceLb({ client, namespace, logger: log, signal });
    // Nobody is left to be elected; a server that runs elsewhere makes it anew.
    await removeObject(client, LEASES, { key: { namespace, name: ELECTION_LEASE_NAME }, signal });
  });
}

function roleOf({ operands }: CommandContext): Role {
  const [word = ""] = operands;
  const role = ROLES.find((known) => known === word);
  if (role !== undefined) return role;
  throw new K3slbError(`There is no program "${word}" to install`, {
    code: "usage",
    hint: didYouMean(word, ROLES, `There are ${ROLES.join(" and ")}`),
  });
}
