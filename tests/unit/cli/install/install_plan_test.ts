import assert from "node:assert/strict";
import { AGENT_FLAGS, COMMON_FLAGS, DEFAULT_CONFIG_PATH, SERVER_FLAGS } from "../../../../cli/settings/flags.ts";
import { describeStep } from "../../../../cli/install/install_host.ts";
import {
  CONFIG_PATH,
  environmentPath,
  type HostState,
  type InitSystem,
  installedFiles,
  installPlan,
  type Role,
  type Step,
  uninstallPlan,
} from "../../../../cli/install/install_plan.ts";
import { renderConfig } from "../../../../cli/output/render_config.ts";
import { parseYaml } from "../../../../core/shared/yaml.ts";

const TEXTS = { config: "# nothing\n", completion: "complete\n" };
const EMPTY: HostState = {
  init: "systemd",
  program: "/root/k3slb",
  isSameProgram: false,
  files: new Map(),
  isRunning: false,
  hasOtherRole: false,
};
const INITS: readonly InitSystem[] = ["systemd", "openrc"];

function wish(role: Role, start = true): { role: Role; dataDir: string; start: boolean } {
  return { role, dataDir: "/var/lib/rancher/k3s", start };
}

/** The host after `steps`. */
function after(host: HostState, steps: readonly Step[]): HostState {
  const files = new Map(host.files);
  let { isSameProgram, isRunning } = host;
  for (const step of steps) {
    if (step.do === "write") files.set(step.path, step.text);
    if (step.do === "link") files.set(step.path, step.target);
    if (step.do === "remove") files.delete(step.path);
    if (step.do === "copy") isSameProgram = true;
    if (step.do === "run" && step.command.includes("start")) isRunning = true;
  }
  return { ...host, files, isSameProgram, isRunning };
}

function words(steps: readonly Step[]): readonly string[] {
  return steps.map(describeStep);
}

for (const init of INITS) {
  for (const role of ["server", "agent"] as const) {
    Deno.test(`installPlan: ${role} on ${init}: all is written, then nothing is left to do; uninstalled, nothing is left`, () => {
      const host = { ...EMPTY, init };
      const steps = installPlan(wish(role), TEXTS, host);
      const installed = after(host, steps);
      assert.deepEqual([...installed.files.keys()].sort(), [...installedFiles(role, init)].sort());
      assert.deepEqual(words(installPlan(wish(role), TEXTS, installed)), []);
      const removed = after(installed, uninstallPlan({ ...wish(role), cluster: false }, TEXTS, installed));
      assert.deepEqual([...removed.files.keys()], []);
    });
  }
}

Deno.test("OpenRC: nothing has to provide the network, and the log goes with the program", () => {
  const host = { ...EMPTY, init: "openrc" } as const;
  const installed = after(host, installPlan(wish("agent"), TEXTS, host));
  const script = installed.files.get("/etc/init.d/k3slb-agent") ?? "";
  assert.match(script, /^ {2}want net\n {2}after net /m);
  assert.doesNotMatch(script, /\bneed\b/);
  const log = /^output_log=(.+)$/m.exec(script)?.[1] ?? "";
  const steps = words(uninstallPlan({ ...wish("agent"), cluster: false }, TEXTS, installed));
  assert.ok(steps.indexOf(`remove ${log}`) > steps.indexOf("run rc-service --ifstarted k3slb-agent stop"));
});

Deno.test("installPlan: settings of an administrator are never written over", () => {
  const files = new Map([[CONFIG_PATH, "disable: [traefik]\n"], [environmentPath("agent", "systemd"), "A=b\n"]]);
  const steps = installPlan(wish("agent"), TEXTS, { ...EMPTY, files });
  assert.deepEqual(steps.flatMap((step) => (step.do === "write" && files.has(step.path) ? [step.path] : [])), []);
  const left = uninstallPlan({ ...wish("agent"), cluster: false }, TEXTS, after({ ...EMPTY, files }, steps));
  assert.deepEqual(left.flatMap((step) => (step.do === "leave" ? [step.path] : [])), [
    "/etc/default/k3slb-agent",
    CONFIG_PATH,
  ]);
});

Deno.test("installPlan: a new program starts what runs again, and nothing else", () => {
  const installed = after(EMPTY, installPlan(wish("agent"), TEXTS, EMPTY));
  const upgraded = { ...installed, isSameProgram: false };
  assert.deepEqual(words(installPlan(wish("agent"), TEXTS, { ...upgraded, isRunning: true })), [
    "copy /root/k3slb to /usr/local/bin/k3slb",
    "run systemctl restart --no-block k3slb-agent",
  ]);
  assert.deepEqual(words(installPlan(wish("agent", false), TEXTS, { ...upgraded, isRunning: false })), [
    "copy /root/k3slb to /usr/local/bin/k3slb",
  ]);
});

Deno.test("installPlan: what a package brought is started from where it is", () => {
  const steps = installPlan(wish("agent"), TEXTS, { ...EMPTY, program: "/usr/bin/k3slb" });
  assert.equal(steps.some((step) => step.do === "copy"), false);
  assert.ok(steps.some((step) => step.do === "write" && step.text.includes("ExecStart=/usr/bin/k3slb agent\n")));
});

Deno.test("uninstallPlan: what both programs share stays while the other one is installed", () => {
  const installed = { ...after(EMPTY, installPlan(wish("agent"), TEXTS, EMPTY)), hasOtherRole: true };
  const steps = words(uninstallPlan({ ...wish("agent"), cluster: false }, TEXTS, installed));
  assert.deepEqual(steps, [
    "run systemctl disable --now k3slb-agent",
    "remove all rules that the agent made on this node",
    "remove /etc/systemd/system/k3slb-agent.service",
    "run systemctl daemon-reload",
    "remove /etc/default/k3slb-agent",
  ]);
});

Deno.test("renderConfig: every option once, all of it comments, and each line is right without its #", () => {
  assert.equal(CONFIG_PATH, DEFAULT_CONFIG_PATH);
  const flags = [...COMMON_FLAGS, ...SERVER_FLAGS, ...AGENT_FLAGS];
  const text = renderConfig(flags);
  assert.equal(text.split("\n").some((line) => line !== "" && !line.startsWith("#")), false);
  const keys = Object.keys(parseYaml(text.replaceAll(/^#(?=[a-z])/gm, "")) as Record<string, unknown>);
  const shared = [...new Set(flags.map(({ name }) => name))].filter((name) =>
    !["config", "metrics-address"].includes(name)
  );
  assert.deepEqual(keys.toSorted(), shared.toSorted());
});
