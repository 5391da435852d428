// Runs the conformance requests on a server and brings the answers into a form that two servers share: times, uids,
// versions and given-out addresses are masked, watch lines become lists.
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { waitUntil } from "../support/wait.ts";
import { STEPS } from "./api_conformance_steps.ts";
import type { Step } from "./conformance_step.ts";

/** How to reach a server as some user. */
export interface Access {
  readonly url: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** A server under test. */
export interface ServerUnderTest {
  access(user: "admin" | "node" | "guest"): Access;
  stop(): Promise<void>;
}

/** One answer in the shared form. */
export interface Answer {
  readonly code: number;
  readonly body: unknown;
}

const CONTENT_TYPES = {
  apply: "application/apply-patch+yaml",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
} as const;

interface RawAnswer {
  readonly code: number;
  readonly text: string;
}

/** Sends one request and reads the whole answer. */
export function send(access: Access, step: Pick<Step, "method" | "path" | "patch" | "body">): Promise<RawAnswer> {
  const url = new URL(access.url + step.path);
  const request = url.protocol === "https:" ? httpsRequest : httpRequest;
  const body = step.body === undefined ? undefined : JSON.stringify(step.body);
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method: step.method,
      agent: false,
      ...(access.ca === undefined ? {} : { ca: access.ca }),
      ...(access.cert === undefined ? {} : { cert: access.cert }),
      ...(access.key === undefined ? {} : { key: access.key }),
      headers: {
        "user-agent": "conformance/1",
        accept: "application/json",
        ...(access.token === undefined ? {} : { authorization: `Bearer ${access.token}` }),
        ...(body === undefined ? {} : {
          "content-type": step.patch === undefined ? "application/json" : CONTENT_TYPES[step.patch],
          "content-length": String(new TextEncoder().encode(body).length),
        }),
      },
    }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => text += chunk);
      response.on("end", () => resolve({ code: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const TIME_FIELDS =
  /^(creationTimestamp|deletionTimestamp|time|lastTransitionTime|lastProbeTime|lastHeartbeatTime|firstTimestamp|lastTimestamp)$/;
const ADDRESS_FIELDS = /^(clusterIP|nodePort|healthCheckNodePort|uid|resourceVersion|continue|serverAddress)$/;

function maskText(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uid>")
    // The words of the JSON decoder.
    .replaceAll(/continue key is not valid: .*/g, "continue key is not valid")
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>");
}

function maskField(field: string, value: unknown): unknown {
  if (value === null) return undefined;
  if (TIME_FIELDS.test(field)) return "<time>";
  if (ADDRESS_FIELDS.test(field) && value !== "None") return value === "" ? "" : `<${field}>`;
  if (field === "clusterIPs" && Array.isArray(value)) return value.map((ip) => ip === "None" ? ip : "<clusterIP>");
  // Credentials are described by the authenticator, in words that no client reads.
  if (field === "extra" || field === "storageVersionHash") return undefined;
  return mask(value);
}

function ownerKey(entry: unknown): string {
  const { manager, operation, subresource } = entry as { manager?: string; operation?: string; subresource?: string };
  return `${manager} ${operation} ${subresource ?? ""}`;
}

/** A value with sorted fields and masked values. */
export function mask(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(mask);
  if (typeof value === "string") return maskText(value);
  if (typeof value !== "object" || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const field of Object.keys(value).sort()) {
    const inner = (value as Record<string, unknown>)[field];
    const shown = field === "managedFields" && Array.isArray(inner)
      ? mask(inner.toSorted((a, b) => ownerKey(a) < ownerKey(b) ? -1 : 1))
      : maskField(field, inner);
    if (shown !== undefined) result[field] = shown;
  }
  return result;
}

function parseBody(text: string, isWatch: boolean): unknown {
  if (!text.startsWith("{")) return text;
  if (!isWatch || !text.startsWith('{"type"')) return mask(JSON.parse(text));
  const events = text.trim().split("\n").map((line) =>
    JSON.parse(line) as { type: string; object: { metadata?: { annotations?: unknown } } }
  );
  // Bookmarks come when the server likes, except the one that ends the initial events.
  return events.filter((it) => it.type !== "BOOKMARK" || it.object.metadata?.annotations !== undefined)
    .map((it) => it.type === "BOOKMARK" ? { type: it.type, annotations: it.object.metadata?.annotations } : mask(it));
}

function remembered(seen: ReadonlyMap<string, string>, path: string): string {
  return path.replaceAll(/\{(rv|uid|continue):([^}]+)\}/g, (_, what: string, name: string) => {
    const metadata = (JSON.parse(seen.get(name) ?? "{}") as { metadata?: Record<string, string> }).metadata ?? {};
    return encodeURIComponent(metadata[what === "rv" ? "resourceVersion" : what] ?? "");
  });
}

/** Answers of a server to all steps, by name. */
export async function runConformance(getServer: () => Promise<ServerUnderTest>): Promise<Record<string, Answer>> {
  const server = await getServer();
  const answers: Record<string, Answer> = {};
  const seen = new Map<string, string>();
  try {
    for (const step of STEPS) {
      const path = remembered(seen, step.path);
      let raw = await send(server.access(step.user ?? "admin"), { ...step, path });
      if (step.untilCode !== undefined && raw.code !== step.untilCode) {
        raw = await waitUntil(`"${step.name}" to be answered with ${step.untilCode}`, async () => {
          const again = await send(server.access(step.user ?? "admin"), { ...step, path });
          return again.code === step.untilCode ? again : undefined;
        });
      }
      seen.set(step.name, raw.text);
      answers[step.name] = { code: raw.code, body: parseBody(raw.text, step.path.includes("watch=1")) };
    }
  } finally {
    await server.stop();
  }
  return answers;
}
