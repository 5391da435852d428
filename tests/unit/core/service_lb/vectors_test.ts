// Data plane `pods` against K3s's own output, vector by vector. Differences are listed, each with its reason, and each must exist.
import assert from "node:assert/strict";
import type { DaemonSet, EndpointSlice, Node, Pod, Service } from "../../../../core/kube/types.ts";
import { desiredService } from "../../../../core/service_lb/desired_service.ts";
import { isAllowListMode } from "../../../../core/service/node_selection.ts";
import { parseYaml } from "../../../../core/shared/yaml.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";

interface VectorInput {
  readonly service: Service;
  readonly nodes?: readonly Node[];
  readonly pods?: readonly Pod[];
  readonly endpointSlices?: readonly EndpointSlice[];
}

interface VectorWant {
  readonly daemonset: DaemonSet | null;
  readonly status: { readonly ingress?: readonly { readonly ip: string }[] };
  readonly error: string | null;
}

const VECTORS = new URL("../../../vectors/service_lb/", import.meta.url);

/** What differs from K3s on purpose: the field, our value, and why. The same list is in docs/compatibility.md. */
const DIFFERENCES: Readonly<Record<string, { readonly status: readonly string[]; readonly why: string }>> = {
  "local_endpoint_conditions": {
    status: ["192.168.7.11", "192.168.7.14", "192.168.7.16", "192.168.7.17", "192.168.7.18"],
    why:
      "an absent `ready` means ready (node-d), and endpoints count by their node name without a Pod (node-f, node-g)",
  },
  "rootless": {
    status: ["192.168.7.11", "192.168.7.12"],
    why: "rootless mode belongs to K3s's own start-up; the server has no such mode",
  },
};

const NAMES = [...Deno.readDirSync(VECTORS)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
  .toSorted();

for (const name of NAMES) {
  Deno.test(`desiredService() equals K3s in ${name}`, () => {
    const input = parseYaml(Deno.readTextFileSync(new URL(`${name}/input.yaml`, VECTORS))) as VectorInput;
    const want = JSON.parse(Deno.readTextFileSync(new URL(`${name}/want.json`, VECTORS))) as VectorWant;
    const nodes = input.nodes ?? [];
    const got = desiredService(input.service, {
      ...SERVICE_OPTIONS,
      dataplane: "pods",
      facts: {
        nodes: new Map(nodes.map((node) => [node.metadata?.name ?? "", node])),
        allowList: isAllowListMode(nodes),
        pods: input.pods ?? [],
        slices: input.endpointSlices ?? [],
        conflicts: new Map(),
        silentNodes: new Set(),
      },
    });
    const daemonSet = got.daemonSet.action === "apply" ? got.daemonSet.daemonSet : null;
    assert.equal(daemonSet === null, want.error !== null, "an error and no DaemonSet go together");
    const ours = comparable(daemonSet);
    assert.equal(
      takeOsSelector(ours),
      daemonSet === null ? undefined : "linux",
      "a listed difference: only Linux nodes",
    );
    const theirs = comparable(want.daemonset);
    if (name.startsWith("lbpool_")) {
      assert.deepEqual(qualifying(nodes, ours), qualifying(nodes, theirs));
      for (const each of [ours, theirs]) dropSelection(each);
    }
    assert.deepEqual(ours, theirs);
    const ips = got.ingress.map(({ ip }) => ip);
    const k3sIps = (want.status.ingress ?? []).map(({ ip }) => ip);
    const difference = DIFFERENCES[name];
    if (difference !== undefined) assert.notDeepEqual(ips, k3sIps, "the listed difference no longer exists");
    assert.deepEqual(ips, difference?.status ?? k3sIps);
  });
}

Deno.test("vectors cover every listed difference", () => {
  assert.equal(NAMES.length, 20);
  for (const name of Object.keys(DIFFERENCES)) assert.ok(NAMES.includes(name), name);
});

type Plain = Record<string, unknown>;

/** Without what is ours alone, and in the form that the README of the vectors calls equal. */
function comparable(daemonSet: DaemonSet | null): Plain | null {
  return JSON.parse(JSON.stringify(daemonSet), (key, value: unknown) => {
    if (!isMapping(value)) return value;
    for (const own of Object.keys(value)) if (own.startsWith("k3slb.io/")) delete value[own];
    if (key === "annotations" || key === "metadata") {
      for (const own of Object.keys(value)) {
        if (isMapping(value[own]) && Object.keys(value[own]).length === 0) delete value[own];
      }
    }
    if (value["name"] === "SRC_RANGES") value["value"] = String(value["value"]).split(",").toSorted().join(",");
    return value;
  }) as Plain | null;
}

function takeOsSelector(daemonSet: Plain | null): unknown {
  const spec = podSpec(daemonSet);
  const selector = spec?.["nodeSelector"];
  if (spec === undefined || !isMapping(selector)) return undefined;
  const os = selector["kubernetes.io/os"];
  delete selector["kubernetes.io/os"];
  if (Object.keys(selector).length === 0) delete spec["nodeSelector"];
  return os;
}

function dropSelection(daemonSet: Plain | null): void {
  delete podSpec(daemonSet)?.["nodeSelector"];
  delete podSpec(daemonSet)?.["affinity"];
}

interface Term {
  readonly matchExpressions?: readonly { readonly key: string; readonly values?: readonly string[] }[];
}

/** Names of the nodes that a pod template's selector and affinity (`In` only) let in. */
function qualifying(nodes: readonly Node[], daemonSet: Plain | null): readonly string[] {
  const spec = podSpec(daemonSet) ?? {};
  const selector = (spec["nodeSelector"] ?? {}) as Readonly<Record<string, string>>;
  const affinity = spec["affinity"] as
    | { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: readonly Term[] } } }
    | undefined;
  const terms = affinity?.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms ?? [{}];
  return nodes.filter(({ metadata }) => {
    const labels = metadata?.labels ?? {};
    return Object.entries(selector).every(([key, value]) => labels[key] === value) &&
      terms.some(({ matchExpressions = [] }) =>
        matchExpressions.every(({ key, values = [] }) => values.includes(labels[key] ?? ""))
      );
  }).map(({ metadata }) => metadata?.name ?? "");
}

function podSpec(daemonSet: Plain | null): Plain | undefined {
  let value: unknown = daemonSet;
  for (const key of ["spec", "template", "spec"]) value = isMapping(value) ? value[key] : undefined;
  return isMapping(value) ? value : undefined;
}

function isMapping(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
