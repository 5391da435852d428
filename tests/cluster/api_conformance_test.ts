// The in-memory API server answers as the real one does. The real one's answers are kept in tests/golden/api_conformance.json;
// K3SLB_WORLD=real asks it again, and K3SLB_UPDATE_GOLDENS=1 with it writes the file anew.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCertificateAuthority } from "../support/certificates.ts";
import { startControlPlane } from "../support/control_plane.ts";
import { startMemoryApi } from "../support/memory_api/memory_api.ts";
import { type Access, type Answer, runConformance, type ServerUnderTest } from "./api_conformance.ts";
import { STEPS } from "./api_conformance_steps.ts";

const GOLDEN_FILE = new URL("../golden/api_conformance.json", import.meta.url);
const USERS = { admin: "admin", node: "system:node:node-a", guest: "guest" } as const;

/** Credentials inside a kubeconfig as the test clusters write it. */
function accessOf(url: string, kubeconfig: string): Access {
  const data = (field: string): string =>
    atob(new RegExp(`${field}:\\s*"?([A-Za-z0-9+/=]+)`).exec(kubeconfig)?.[1] ?? "");
  return {
    url,
    ca: data("certificate-authority-data"),
    cert: data("client-certificate-data"),
    key: data("client-key-data"),
  };
}

async function memoryServer(): Promise<ServerUnderTest> {
  const dir = mkdtempSync(join(tmpdir(), "api-conformance-"));
  const server = await startMemoryApi({
    authority: await createCertificateAuthority(dir),
    controllers: ["customResourceDefinitions"],
  });
  const accesses = new Map<string, Access>();
  for (const [name, user] of Object.entries(USERS)) {
    accesses.set(name, accessOf(server.url, await server.kubeconfig(user)));
  }
  return {
    access: (user) => accesses.get(user) ?? { url: server.url },
    stop: async () => {
      await server.stop();
      rmSync(dir, { recursive: true });
    },
  };
}

async function realServer(): Promise<ServerUnderTest> {
  const dir = mkdtempSync(join(tmpdir(), "api-conformance-"));
  const plane = await startControlPlane({
    dir,
    serviceCidrs: ["10.43.0.0/16", "fd43::/112"],
    // Only the controller without which no pod can be made: the others would change objects between two requests.
    extraArgs: {
      "kube-controller-manager": ["--controllers=serviceaccount-controller"],
      // A private world has no default route to take an address from; nobody connects to this one.
      "kube-apiserver": ["--advertise-address=172.30.0.1"],
    },
  });
  const accesses = new Map<string, Access>();
  const files = {
    admin: plane.adminKubeconfig,
    node: await plane.nodeKubeconfig("node-a"),
    guest: await plane.kubeconfigFor("guest"),
  };
  for (const [name, file] of Object.entries(files)) {
    accesses.set(name, accessOf(plane.server, readFileSync(file, "utf8")));
  }
  return {
    access: (user) => accesses.get(user) ?? { url: plane.server },
    stop: async () => {
      await plane.stop();
      rmSync(dir, { recursive: true });
    },
  };
}

function readGolden(): Record<string, Answer> {
  return JSON.parse(readFileSync(GOLDEN_FILE, "utf8")) as Record<string, Answer>;
}

const isReal = Deno.env.get("K3SLB_WORLD") === "real";

Deno.test({
  name: "real API server: answers are those of the golden file",
  ignore: !isReal,
  fn: async () => {
    const answers = await runConformance(realServer);
    if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") {
      writeFileSync(GOLDEN_FILE, `${JSON.stringify(answers, null, 1)}\n`);
    }
    assert.deepEqual(answers, readGolden());
  },
});

Deno.test("in-memory API server: answers are those of the real one", async (t) => {
  const golden = readGolden();
  const answers = await runConformance(memoryServer);
  for (const step of STEPS) {
    await t.step(step.name, () => assert.deepEqual(answers[step.name], golden[step.name]));
  }
});
