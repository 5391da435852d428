// Kubernetes' own end-to-end tests in a world of real nodes: runs a part of them and declares a test for each, with what it said.
import { ok } from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { DEPLOYMENTS } from "../../core/kube/resources.ts";
import { waitUntil } from "../support/wait.ts";
import { startWorld, type World } from "../support/world.ts";
import { ensureUpstreamImages, ensureUpstreamTests } from "./images.ts";
import { CHANGED } from "./selection.ts";

/** The part of Ginkgo's report that is read here. */
interface Spec {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly LeafNodeType: string;
  readonly State: "passed" | "skipped" | "pending" | "failed" | "panicked" | "interrupted" | "timedout" | "aborted";
  readonly RunTime: number;
  readonly NumAttempts?: number;
  readonly Failure?: { readonly Message?: string; readonly Location?: { FileName?: string; LineNumber?: number } };
}

const NANOSECONDS = 1e9;
/**
 * A test that fails is tried once more, and what needed that says so: with kube-proxy alone, too, a UDP flow to a node port that was tried before
 * there was an endpoint is answered after up to 45 s at times, of the minute that such a test of connection tracking grants.
 */
const ATTEMPTS = 2;

/** A part of the tests, which has a world of its own. */
export interface UpstreamPart {
  /** What is run: regular expressions over full names. */
  readonly focus: readonly string[];
  /** What is left out of it. */
  readonly skip: readonly string[];
  readonly nodes: number;
  /** Name of the file in dist that keeps what the tests print. */
  readonly log: string;
}

/** The cluster's DNS answers: some tests look their Services up. */
async function waitForDns(world: World): Promise<void> {
  await waitUntil("CoreDNS to be ready", async () => {
    const { status } = await world.admin.get(DEPLOYMENTS, { namespace: "kube-system", name: "coredns" });
    return (status?.readyReplicas ?? 0) > 0;
  }, { deadlineMs: 60_000, intervalMs: 500, explain: () => world.logs() });
}

/** Runs the tests; what they print goes to a file that stays. */
async function runTests(
  world: World,
  dir: string,
  { focus, skip, log: logName }: UpstreamPart,
): Promise<readonly Spec[]> {
  const kubectl = join(dir, "kubectl");
  writeFileSync(kubectl, `#!/bin/sh\nexec ${world.api.kubectl[0]} kubectl "$@"\n`, { mode: 0o755 });
  const report = join(dir, "report.json");
  const program = await ensureUpstreamTests(print);
  const log = openSync(fileURLToPath(new URL(`../../dist/${logName}`, import.meta.url)), "w");
  const child = spawn(program, [
    "-test.timeout=0",
    `-kubeconfig=${await world.api.kubeconfig("admin", ["system:masters"])}`,
    `-kubectl-path=${kubectl}`,
    "-provider=local",
    "-ginkgo.no-color",
    "-ginkgo.timeout=3h",
    `-ginkgo.flake-attempts=${ATTEMPTS}`,
    `-ginkgo.json-report=${report}`,
    `-ginkgo.focus=${process.env["K3SLB_UPSTREAM_FOCUS"] ?? focus.join("|")}`,
    `-ginkgo.skip=${skip.join("|")}`,
  ], { stdio: ["ignore", log, log], cwd: dir });
  await new Promise((resolve) => child.once("close", resolve));
  closeSync(log);
  const [suite] = JSON.parse(readFileSync(report, "utf8")) as [{ SpecReports: readonly Spec[] }];
  return suite.SpecReports.filter(({ LeafNodeType, State }) => LeafNodeType === "It" && State !== "pending");
}

async function runInWorld(part: UpstreamPart): Promise<readonly Spec[]> {
  const dir = mkdtempSync(join(tmpdir(), "k3slb-upstream-"));
  const world = await startWorld({
    server: "nodes",
    servers: 0,
    nodes: part.nodes,
    images: await ensureUpstreamImages(print),
  });
  try {
    await world.startServer(["--disable", "traefik"]);
    await waitForDns(world);
    return await runTests(world, dir, part);
  } finally {
    await world.stop();
    rmSync(dir, { recursive: true });
  }
}

function nameOf(spec: Spec): string {
  return [...spec.ContainerHierarchyTexts ?? [], spec.LeafNodeText].join(" ");
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs the part's tests and tells of each, also of those that skip themselves. */
export async function declareUpstreamTests(part: UpstreamPart): Promise<void> {
  // Ginkgo marks all that the focus leaves out as skipped, without a word; those that skip themselves say why.
  const specs = (await runInWorld(part)).filter(({ State, Failure }) => State !== "skipped" || Failure?.Message);
  Deno.test("upstream: there were tests", () => ok(specs.length > 0));
  for (const spec of specs) {
    const seconds = Math.round(spec.RunTime / NANOSECONDS);
    const isSkipped = spec.State === "skipped";
    const name = nameOf(spec);
    const how = [
      ...(CHANGED.test(name) ? ["; changed: waits for the status"] : []),
      ...((spec.NumAttempts ?? 1) > 1 ? [`; at try ${spec.NumAttempts}`] : []),
    ].join("");
    Deno.test({
      name: `upstream: ${name} (${isSkipped ? `skipped: ${spec.Failure?.Message}` : `${seconds} s${how}`})`,
      ignore: isSkipped,
      fn: () => {
        const { FileName, LineNumber } = spec.Failure?.Location ?? {};
        ok(spec.State === "passed", `${spec.State}: ${spec.Failure?.Message}\n${FileName}:${LineNumber}`);
      },
    });
  }
}
