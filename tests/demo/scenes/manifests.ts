// Scene: the manifests folder. A file that is dropped in is applied, an edit follows, and what is taken out of the file is pruned.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isNotFound } from "../../../core/kube/errors.ts";
import { CONFIG_MAPS } from "../../../core/kube/resources.ts";
import type { Service } from "../../../core/kube/types.ts";
import {
  ADD_ON_NAMESPACE,
  ADD_ONS,
  addOnNameOf,
  KINDS_ANNOTATION,
  parseKinds,
} from "../../../core/manifests/record/addon.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { ask, ingressIps, LOOK, milliseconds, type Stage, targetsOf, tryToAsk } from "../stage.ts";

interface FileFacts {
  readonly name: string;
  readonly mode: string;
  readonly bytes: number;
  readonly addOn: string;
  /** SHA-256 in hex. */
  readonly checksum: string;
  readonly kinds: readonly string[];
}

interface ChangeFacts {
  readonly saved: string;
  readonly seen: string;
  /** Milliseconds from the save until it was seen. */
  readonly seenMs: number;
  /** Absent if there is nothing to connect to. */
  readonly answers?: { readonly ips: number; readonly afterMs: number };
  readonly checksum: string;
}

interface ManifestsFacts {
  readonly dir: string;
  readonly files: readonly FileFacts[];
  readonly changes: readonly ChangeFacts[];
}

/** The user's file; its Service and its ConfigMap have the same name. */
const FILE = "site.yaml";
const NAME = "site";
/** Whose pods the Service is for. */
const APP = "web";
const PORTS = { first: 8081, edited: 8082 } as const;
const SHOWN_DIGITS = 12;

/** From file to cluster. */
export const MANIFESTS_SCENE = scene({
  title: `The server's manifests folder: "${FILE}" is dropped in, edited, and made shorter`,
  act: async (stage): Promise<ManifestsFacts> => {
    const dropped = await save(stage, {
      saved: "a Service and a ConfigMap",
      text: serviceText(stage, PORTS.first) + configMapText(stage),
      seen: "both are there",
      look: async () => await hasConfigMap(stage) && (await portOf(stage)) === PORTS.first,
      isServed: true,
    });
    stage.serviceNames.push(NAME);
    const files = await deployedFiles(stage);
    const { metadata } = await stage.ns.service(NAME);
    const edited = await save(stage, {
      saved: `port ${PORTS.edited} instead of ${PORTS.first}`,
      text: serviceText(stage, PORTS.edited) + configMapText(stage),
      seen: `the Service has port ${PORTS.edited}`,
      look: async () => (await portOf(stage)) === PORTS.edited,
      isServed: true,
    });
    const shortened = await save(stage, {
      saved: "no ConfigMap any more",
      text: serviceText(stage, PORTS.edited),
      seen: "ConfigMap gone, Service stays",
      look: async () => !(await hasConfigMap(stage)),
    });
    const service = await stage.ns.service(NAME);
    expect(service.metadata?.uid === metadata?.uid, `Service "${NAME}" is another one than at first`);
    for (const target of targetsOf(service, ingressIps(service))) await ask(stage, target);
    return { dir: stage.manifestsDir, files, changes: [dropped, edited, shortened] };
  },
  show: ({ dir, files, changes }) => [
    {
      kind: "table",
      columns: [
        { title: "file" },
        { title: "mode" },
        { title: "bytes", align: "right" },
        { title: "addon" },
        { title: "its checksum" },
        { title: "its kinds", wraps: true },
      ],
      rows: files.map(({ name, mode, bytes, addOn, checksum, kinds }) => [
        { text: name, tone: "strong" },
        mode,
        String(bytes),
        addOn,
        { text: checksum.slice(0, SHOWN_DIGITS), tone: "good" },
        kinds.join(", "),
      ]),
    },
    {
      kind: "table",
      columns: [
        { title: `saved in ${FILE}` },
        { title: "in the cluster", wraps: true },
        { title: "after", align: "right" },
        { title: "the client has answers", wraps: true },
        { title: "its checksum" },
      ],
      rows: changes.map(({ saved, seen, seenMs, answers, checksum }) => [
        saved,
        { text: seen, tone: "good" },
        milliseconds(seenMs),
        answers === undefined ? "-" : `from ${answers.ips} nodes after ${milliseconds(answers.afterMs)}`,
        checksum.slice(0, SHOWN_DIGITS),
      ]),
    },
    {
      kind: "text",
      tone: "faint",
      text:
        `The folder is ${dir}. Every AddOn has its file's own checksum (SHA-256, the first ${SHOWN_DIGITS} digits). ` +
        "Times count from the save; a file is read 100 ms after its last change.",
    },
  ],
});

/** Writes the file and watches what comes of it; `look` says whether the cluster has it. */
async function save(stage: Stage, change: {
  readonly saved: string;
  readonly text: string;
  readonly seen: string;
  readonly look: () => Promise<boolean>;
  /** Whether every node must answer then. */
  readonly isServed?: boolean;
}): Promise<ChangeFacts> {
  const { saved, seen, look, isServed = false } = change;
  const startMs = performance.now();
  writeFileSync(join(stage.manifestsDir, FILE), change.text);
  await waitUntil(seen, look, LOOK);
  const seenMs = performance.now() - startMs;
  const service = isServed ? await answeredEverywhere(stage) : undefined;
  const afterMs = performance.now() - startMs;
  const { checksum } = await deployedFile(stage, FILE);
  return {
    saved,
    seen,
    seenMs,
    checksum,
    ...(service === undefined ? {} : { answers: { ips: ingressIps(service).length, afterMs } }),
  };
}

/** The Service once it has the address of every node and each answers. */
async function answeredEverywhere(stage: Stage): Promise<Service> {
  const service = await waitUntil("the addresses", async () => {
    const each = await stage.ns.service(NAME);
    return ingressIps(each).length === stage.world.nodes.length && each;
  }, LOOK);
  for (const target of targetsOf(service, ingressIps(service))) {
    await waitUntil("an answer", async () => (await tryToAsk(stage, target)).outcome === "answer", LOOK);
  }
  return service;
}

async function deployedFiles(stage: Stage): Promise<readonly FileFacts[]> {
  return await Promise.all(readdirSync(stage.manifestsDir).sort().map((name) => deployedFile(stage, name)));
}

/** A file of the folder once its AddOn has its checksum. */
async function deployedFile({ manifestsDir, world }: Stage, name: string): Promise<FileFacts> {
  const path = join(manifestsDir, name);
  const checksum = createHash("sha256").update(readFileSync(path)).digest("hex");
  const addOn = await waitUntil(`the AddOn of ${name} with checksum ${checksum}`, async () => {
    const found = await world.admin.get(ADD_ONS, { namespace: ADD_ON_NAMESPACE, name: addOnNameOf(name) ?? "" });
    return found.spec?.checksum === checksum && found;
  }, LOOK);
  expect(addOn.spec?.source === path, `AddOn of ${name} names another file: ${addOn.spec?.source}`);
  const { mode, size } = statSync(path);
  return {
    name,
    mode: `0${(mode & 0o777).toString(8)}`,
    bytes: size,
    addOn: addOn.metadata?.name ?? "",
    checksum: addOn.spec?.checksum ?? "",
    kinds: parseKinds(addOn.metadata?.annotations?.[KINDS_ANNOTATION]).map(({ kind }) => kind).sort(),
  };
}

async function portOf({ ns }: Stage): Promise<number | undefined> {
  return (await ns.service(NAME)).spec?.ports?.[0]?.port;
}

async function hasConfigMap({ ns, world }: Stage): Promise<boolean> {
  try {
    await world.admin.get(CONFIG_MAPS, { namespace: ns.name, name: NAME });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

function serviceText({ ns }: Stage, port: number): string {
  return `apiVersion: v1
kind: Service
metadata: {name: ${NAME}, namespace: ${ns.name}}
spec:
  type: LoadBalancer
  selector: {app: ${APP}}
  ports: [{name: http, port: ${port}, targetPort: 8080}]
`;
}

function configMapText({ ns }: Stage): string {
  return `---
apiVersion: v1
kind: ConfigMap
metadata: {name: ${NAME}, namespace: ${ns.name}}
data: {greeting: hello}
`;
}
