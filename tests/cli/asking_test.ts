// Commands that ask a cluster, and get no answer or a bad one: one clear line, its code, and the right exit code. The compiled binary, where there is one.
import { equal, match } from "node:assert/strict";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { type MemoryApi, startMemoryApi } from "../support/memory_api/memory_api.ts";
import { programKinds, type ProgramResult, runProgram } from "./program.ts";

const KIND = programKinds().at(-1);
if (KIND === undefined) throw new Error("There is no program");

/** Every command that asks, with what it needs; dump writes its archive all the same, and says what is missing. */
const ASKING: readonly (readonly string[])[] = [
  ["explain", "shop/web"],
  ["ports"],
  ["status"],
  ["status", "--problems"],
  ["probe", "shop/web"],
  ["dump", "--file", "%/dump.tar.gz"],
];

/** Runs each command with a kubeconfig of this text, side by side. */
async function askAll(kubeconfig: string, check: (command: string, result: ProgramResult) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/kubeconfig`, kubeconfig);
    await Promise.all(ASKING.map(async (words) => {
      const args = [...words, "--kubeconfig", "%/kubeconfig"].map((word) => word.replace("%", folder));
      check(words.join(" "), await runProgram(KIND as NonNullable<typeof KIND>, { args }));
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** One error of three lines, and nothing else. */
function isError(
  command: string,
  { code, stdout, stderr }: ProgramResult,
  want: { message: RegExp; code: string },
): void {
  if (command.startsWith("dump")) {
    equal(code, 0, stderr);
    match(stderr, /^\S+ WARN {2}The archive has nothing of the cluster error=.*\n$/);
    match(stderr.replaceAll("\\", ""), want.message, command);
    return;
  }
  equal(code, 1, `${command}: ${stderr}`);
  equal(stdout, "", command);
  match(stderr, /^error: [^\n]+\n {2}hint: [^\n]+\n {2}code: [a-z-]+\n$/, command);
  match(stderr, want.message, command);
  match(stderr, new RegExp(`code: ${want.code}\n$`), command);
}

function kubeconfigFor(server: string): string {
  return JSON.stringify({
    ...{ apiVersion: "v1", kind: "Config", "current-context": "c" },
    clusters: [{ name: "c", cluster: { server, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: "t" } }],
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
  });
}

async function listen(): Promise<{ readonly port: number; readonly server: Server }> {
  // It takes connections and says nothing.
  const server = createServer((socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, server };
}

async function withApi(work: (api: MemoryApi) => Promise<void>): Promise<void> {
  const api = await startMemoryApi({ controllers: [] });
  try {
    await work(api);
  } finally {
    await api.stop();
  }
}

Deno.test("asking: nobody listens there", async () => {
  const { port, server } = await listen();
  await new Promise((resolve) => server.close(resolve));
  const message = new RegExp(`Cannot .*: https://127\\.0\\.0\\.1:${port} cannot be reached`);
  await askAll(
    kubeconfigFor(`https://127.0.0.1:${port}`),
    (command, result) => isError(command, result, { message, code: "kube-unreachable" }),
  );
});

Deno.test(
  "asking: connections are taken and nothing is said",
  { sanitizeOps: false, sanitizeResources: false },
  async () => {
    const { port, server } = await listen();
    try {
      const message = new RegExp(`Cannot .*: no connection to https://127\\.0\\.0\\.1:${port} within 5 s`);
      await askAll(
        kubeconfigFor(`https://127.0.0.1:${port}`),
        (command, result) => isError(command, result, { message, code: "kube-connect-timeout" }),
      );
    } finally {
      server.close();
    }
  },
);

Deno.test("asking: the API server does not answer", async () => {
  await withApi(async (api) => {
    api.faults.add({ effect: { type: "hang" } });
    const message = /The API server did not answer within 10 s/;
    await askAll(
      await api.kubeconfig("admin"),
      (command, result) => isError(command, result, { message, code: "timeout" }),
    );
  });
});

Deno.test("asking: without the right to look, or with credentials that nobody knows", async () => {
  await withApi(async (api) => {
    await askAll(
      await api.kubeconfig("nobody"),
      (command, result) =>
        isError(command, result, { message: /"?nobody"? .*cannot|forbidden/i, code: "kube-forbidden" }),
    );
    await askAll(
      kubeconfigFor(api.url),
      (command, result) =>
        isError(command, result, { message: /Unauthorized|credentials/i, code: "kube-unauthorized" }),
    );
  });
});

Deno.test("asking: a Service that is not there, that is another's, that has no address", async () => {
  await withApi(async (api) => {
    const resource = api.api.resources.find("", "v1", "services");
    if (resource === undefined) throw new Error("No Services here");
    const put = (name: string, spec: object): unknown =>
      api.api.putRaw(
        resource,
        {
          ...{ apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name, uid: name } },
          ...{
            spec: { type: "LoadBalancer", ports: [{ port: 80, protocol: "TCP" }], ...spec },
            status: { loadBalancer: {} },
          },
        } as unknown as Parameters<typeof api.api.putRaw>[1],
      );
    put("web", {});
    put("other", { loadBalancerClass: "example.com/other" });
    const folder = await Deno.makeTempDir();
    const run = async (...args: string[]): Promise<ProgramResult> =>
      await runProgram(KIND, { args: [...args, "--kubeconfig", `${folder}/kubeconfig`] });
    try {
      await Deno.writeTextFile(`${folder}/kubeconfig`, await api.kubeconfig("admin"));
      for (const command of ["explain", "probe"]) {
        const [near, elsewhere, none, usage] = await Promise.all([
          run(command, "shop/wbe"),
          run(command, "web"),
          run(command, "shop/quite-another"),
          run(command, "a/b/c"),
        ]);
        const said = (result: ProgramResult, code: number, text: string): void => {
          equal(result.stderr, text);
          equal(result.code, code);
        };
        const line = (name: string, namespace = "shop"): string =>
          `error: There is no Service "${name}" in namespace "${namespace}"\n`;
        said(near, 1, `${line("wbe")}  hint: Did you mean "shop/web"?\n  code: no-service\n`);
        said(
          elsewhere,
          1,
          `${line("web", "default")}  hint: There is one in another namespace: shop/web\n  code: no-service\n`,
        );
        const hint = "  hint: kubectl get services --all-namespaces lists them\n";
        said(none, 1, `${line("quite-another")}${hint}  code: no-service\n`);
        match(
          usage.stderr,
          /^error: "a\/b\/c" names no Service\n {2}hint: Write NAMESPACE\/NAME.*\n {2}code: usage\n$/,
        );
        equal(usage.code, 2);
      }
      const other = await run("explain", "shop/other");
      equal(other.code, 0, other.stderr);
      match(other.stdout, /^Served: +False, OtherClass: The Service is of class "example\.com\/other"$/m);
      match(other.stdout, /^To do: +Make it anew with loadBalancerClass: k3slb\.io\/node-addresses/m);
      const unpublished = await run("probe", "shop/other");
      equal(unpublished.code, 1);
      match(
        unpublished.stderr,
        /^error: Service "shop\/other" has no published address.*\n {2}hint: .*\n {2}code: no-address\n$/,
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

Deno.test("asking: a kubeconfig that is not there, or is none", async () => {
  const missing = await runProgram(KIND, { args: ["status", "--kubeconfig", "/nonexistent/kubeconfig"] });
  equal(missing.code, 1);
  match(missing.stderr, /^error: .*\/nonexistent\/kubeconfig.*\n {2}hint: .*\n {2}code: [a-z-]+\n$/);
  await askAll("not: [a kubeconfig", (command, result) => {
    if (command.startsWith("dump")) return;
    equal(result.code, 1);
    match(result.stderr, /^error: [^\n]+\n {2}hint: [^\n]+\n {2}code: [a-z-]+\n$/, command);
  });
});
