// docs/events.md against the sources: every error code, and every reason of an Event, a condition or a gate, has a line with a remedy,
// and no line is about something that is gone. What the sources write is found by its form; a form that is not known fails.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PAGE = `${ROOT}docs/events.md`;

/** CamelCase words of the sources that are no reasons: kinds, names of Kubernetes and its values, of tables and of the program itself. */
const NO_REASONS = new Set(
  `AbortError AddOn AddonList AlreadyExists ClusterRole ClusterRoleBinding ConfigMap ContainerCannotRun ContainersReady CoreEvent
  CrashLoopBackOff CriticalAddonsOnly CustomResourceDefinition DaemonSet DeleteOptions DoesNotExist EndpointSlice ErrImagePull
  ExecCredential ExternalIP GuardedKind HelmChart HelmChartConfig HelmChartConfigValues HelmChartConfigValuesContent HelmChartValues
  HelmChartValuesContent IfNotPresent IngressClass InternalIP JobCreated KeptByAnnotation LimitRange LoadBalancer
  MutatingWebhookConfiguration NamespaceTerminating NoChart NoExecute NoSchedule NodeHosts NotIn NotOlderThan OlderMajor OnFailure
  OtherController OtherIngress PersistentVolumeClaim PodInitializing PodScheduled PreferDualStack PreferNoSchedule PriorityClass
  RequireDualStack ResourceQuota RoleBinding RollingUpdate RunContainerError RuntimeClass RuntimeDefault SelfSubjectReview
  ServiceAccount SingleStack SplitImage StorageClass TargetNamespace UnknownRange ValidatingAdmissionPolicyBinding
  ValidatingWebhookConfiguration ValuesContent ValuesSecret Foreign Unmanaged
  CiliumLoadBalancerIPPool OpenELB PureLB SelfSubjectAccessReview
  ClientIP CoreDNS False MetalLB Ready RepoCA ServiceCIDR`.split(/\s+/),
);
/** Expressions that hand on a code from elsewhere, and those that are put together, up to their first brace. */
const HANDED_ON = /^(string|number|(\$\{)?(error|known|kind)\.code$)/;
const PARTS: Readonly<Record<string, readonly string[]>> = {
  "`kube-answer-${problem": ["cut", "garbage", "too-large", "silent"].map((problem) => `kube-answer-${problem}`),
};

interface Source {
  readonly path: string;
  readonly text: string;
}

async function* sourcesBelow(folder: string): AsyncGenerator<Source> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sourcesBelow(path);
    else if (/(?<!\.generated)\.ts$/.test(entry.name)) {
      const text = await Deno.readTextFile(path);
      yield { path, text: text.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, "") };
    }
  }
}

/** Codes that a file gives to errors or prints. */
export function codesOf({ path, text }: Source): readonly string[] {
  const codes: string[] = [];
  for (const [, expression = ""] of text.matchAll(/(?<![\w?.])code: ([^,;}\n]+)/g)) {
    const [, constant] = /^([A-Z_]+)$/.exec(expression) ?? [];
    const said = constant === undefined ? expression : new RegExp(`const ${constant} = ([^;]+);`).exec(text)?.[1] ?? "";
    // A line that is printed, else a value.
    const [, printed] = /^([a-z-]+)(?:\\n|")/.exec(said) ?? [];
    const found = printed !== undefined
      ? [printed]
      : PARTS[said] ?? [...said.matchAll(/(?<!== )"([a-z][a-z0-9-]*)"/g)].map((match) => match[1] ?? "");
    assert.ok(
      found.length > 0 || HANDED_ON.test(said),
      `${path}: the test can't tell what is in "code: ${expression}"`,
    );
    codes.push(...found);
  }
  return codes;
}

/** Reasons that a file may give: words of two humps anywhere, and what is called a reason by its form. */
export function reasonsOf({ text }: Source): readonly string[] {
  const words = (part: string): readonly string[] =>
    [...part.matchAll(/"([A-Z][a-z]+(?:[A-Z]+[a-z]*)*)"/g)].map((match) => match[1] ?? "");
  const named = [
    ...text.matchAll(/\breason: ([^\n]+)/g),
    ...text.matchAll(/type \w*Reason =([^;]*);/g),
    ...text.matchAll(/function \w*[rR]eason\w*\(([^]*?)\n}/g),
    ...text.matchAll(/\bdeployed\("(?:True|False)", ([^\n]+)/g),
  ].flatMap((match) => words(match[1] ?? ""));
  const spoken = [...text.matchAll(/\b(?:failed\(|reason: )"([A-Z][a-z]+(?: [a-z]+)+)"/g)].map((match) =>
    match[1] ?? ""
  );
  const humps = words(text).filter((word) => /[a-z][A-Z]/.test(word));
  return [...named, ...spoken, ...humps].filter((word) => !NO_REASONS.has(word));
}

Deno.test("codesOf, reasonsOf: what is new is found", () => {
  const source = {
    path: "x.ts",
    text: [
      `throw new K3slbError("a", { code: "new-code", hint: "b" });`,
      `  code: isMissing ? "one-code" : "other-code",`,
      `events.record(o, { type: "Warning", reason: "NewReason", message });`,
      `return no("OtherReason", "words");`,
      `function reasonOf(a: string): string {\n  return a === "" ? "Alone" : "";\n}`,
    ].join("\n"),
  };
  assert.deepEqual(codesOf(source), ["new-code", "one-code", "other-code"]);
  assert.deepEqual([...new Set(reasonsOf(source))].sort(), ["Alone", "NewReason", "OtherReason"]);
  assert.throws(() => codesOf({ path: "x.ts", text: "code: `made-${up}`," }), /can't tell/);
});

Deno.test("docs/events.md: has a line for each code and reason of the sources, and no other", async () => {
  if (!existsSync(PAGE)) return;
  const page = await Deno.readTextFile(PAGE);
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  const nameOf = (row: string): string => /^\| `([^`]+)` \|/.exec(row)?.[1] ?? "";
  for (const row of rows) assert.ok(row.split(" | ").length >= 3, `a line without a remedy: ${row}`);
  const documented = rows.map(nameOf);
  const sources = (await Promise.all(
    ["core", "node_agent", "cli"].map((folder) => Array.fromAsync(sourcesBelow(`${ROOT}${folder}`))),
  )).flat();
  const states = /manifests list`:([^]*?)\n\n/.exec(page)?.[1] ?? "";
  const listed = [...documented, ...[...states.matchAll(/`([A-Z][A-Za-z]+)`/g)].map((match) => match[1] ?? "")];
  const codes = [...new Set(sources.flatMap(codesOf))];
  const reasons = [...new Set(sources.flatMap(reasonsOf))];
  assert.deepEqual(
    codes.filter((code) => !documented.includes(code)).sort(),
    [],
    "codes without a line in docs/events.md",
  );
  const unknown = reasons.filter((reason) => !listed.includes(reason)).sort();
  assert.deepEqual(unknown, [], "reasons without a line in docs/events.md (or, if they are none, in NO_REASONS)");
  const everything = sources.map(({ text }) => text).join("\n");
  const gone = documented.filter((name) => !codes.includes(name) && !everything.includes(`"${name}"`));
  assert.deepEqual(gone, [], "lines of docs/events.md about what no source says");
  assert.equal(new Set(documented).size, documented.length, "a name with two lines");
});
