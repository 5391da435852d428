// HTTP in front of the API: who asks, for what, may they, and the answer's form. Bodies are JSON, or protobuf that is read as such; answers are
// JSON, objects or tables.
import type { IncomingMessage, ServerResponse } from "node:http";
import { randomUUID } from "node:crypto";
import type { Api } from "./api.ts";
import { checkFields, mediaType, parseJson, readBody } from "./body.ts";
import { authenticate, type User } from "./authentication.ts";
import { denial } from "./authorization.ts";
import type { FaultEffect, Faults } from "./faults.ts";
import { asList, asObject, asText, at, type Json, type JsonObject } from "./json.ts";
import { listPage } from "./list.ts";
import { type Answer, answerPath } from "./paths.ts";
import { parseResourceRequest, type ResourceRequest, segmentsOf } from "./request.ts";
import type { RequestCounts } from "./request_counts.ts";
import { storeKey, VIRTUAL_KINDS } from "./resources.ts";
import { fieldMatcher, labelMatcher, type Matcher, parseFieldSelector } from "./selectors.ts";
import type { ApiObject } from "./store.ts";
import { expired, forbidden, invalid, StatusError } from "./status_error.ts";
import { review } from "./reviews.ts";
import { objectOfScale, scaleOf } from "./scale.ts";
import { tableOf, wantsTable } from "./tables.ts";
import type { Watch } from "./watch.ts";
import { openWatch } from "./watch_endpoint.ts";
import { patched, type PatchKind, type Target } from "./write_rules.ts";

/** What the handler works with. */
export interface HandlerParts {
  readonly api: Api;
  readonly faults: Faults;
  readonly counts: RequestCounts;
  readonly tokens: ReadonlyMap<string, User>;
  readonly watches: Set<Watch>;
  readonly bookmarkIntervalMs: number;
}

const PATCH_KINDS: Readonly<Record<string, PatchKind>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};
const UNAUTHORIZED = new StatusError(401, "Unauthorized", { message: "Unauthorized" });

/** What needs containers, which no node of this server has. */
const NEEDS_CONTAINERS: ReadonlySet<string> = new Set(["log", "exec", "attach", "portforward"]);

/** Answers one request. */
export class HttpHandler {
  readonly #parts: HandlerParts;

  constructor(parts: HandlerParts) {
    this.#parts = parts;
  }

  /** Answers; never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#route(request, response);
    } catch (error) {
      this.#answerError(response, error);
    }
  }

  #answerError(response: ServerResponse, error: unknown): void {
    const status = error instanceof StatusError ? error : new StatusError(500, "InternalError", {
      message: `Internal error occurred: ${error instanceof Error ? error.stack ?? error.message : String(error)}`,
    });
    if (response.headersSent) return void response.end();
    this.#send(response, { code: status.code, body: status.toStatus() });
  }

  #send(response: ServerResponse, answer: Answer, isHalf = false): void {
    const text = typeof answer.body === "string" ? answer.body : `${JSON.stringify(answer.body)}\n`;
    const type = typeof answer.body === "string" ? "text/plain; charset=utf-8" : "application/json";
    const bytes = new TextEncoder().encode(text);
    response.writeHead(answer.code, {
      "content-type": type,
      "content-length": String(bytes.length),
      "audit-id": randomUUID(),
    });
    if (!isHalf) return void response.end(bytes);
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.socket?.destroy());
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { api, counts, faults, tokens } = this.#parts;
    const method = request.method ?? "GET";
    const url = new URL(request.url ?? "/", "http://memory");
    const segments = segmentsOf(url.pathname);
    const text = method === "GET" || method === "HEAD" ? "" : await readBody(request);
    const user = authenticate(request, tokens);
    if (user === undefined) throw UNAUTHORIZED;
    const asked = parseResourceRequest(method, url, { segments, table: api.resources });
    const name = asked === undefined
      ? url.pathname
      : asked.subresource === ""
      ? asked.resource.plural
      : `${asked.resource.plural}/${asked.subresource}`;
    const info = { user: user.name, verb: asked?.verb ?? method.toLowerCase(), resource: name, path: url.pathname };
    counts.add(info);
    const effect = faults.take(info);
    if (effect !== undefined && await this.#fault(effect, { response, asked, user })) return;

    if (asked === undefined) return this.#send(response, answerPath(segments, user, api.resources));
    const access = { ...asked, user, fieldSelector: url.searchParams.get("fieldSelector") ?? "" };
    const denied = denial({ ...access, name: asked.name || nameSelected(access.fieldSelector) }, api.store);
    if (denied !== undefined) throw this.#worded(denied, asked);
    if (NEEDS_CONTAINERS.has(asked.subresource)) {
      throw new StatusError(501, "NotImplemented", {
        message:
          `pods/${asked.subresource}: pods have no containers here, only addresses that answer; real nodes have them`,
      });
    }
    const table = wantsTable(request.headers.accept)
      ? {
        resource: asked.resource,
        includeObject: url.searchParams.get("includeObject") ?? "Metadata",
        now: new Date(),
      }
      : undefined;
    if (asked.verb === "watch") {
      return openWatch(this.#parts, asked, { url, response, matches: this.#matcher(asked, url), table });
    }
    const answer = this.#answer(asked, { url, user, text, request });
    const body = asObject(answer.body as Json);
    const isShown = table !== undefined && (asked.verb === "list" || asked.verb === "get") && asked.subresource === "";
    const items = asked.verb === "list" ? asList(body["items"]) : [body];
    const shown = isShown
      ? {
        ...answer,
        body: tableOf(items as ApiObject[], asked.verb === "list" ? asObject(body["metadata"]) : {}, table),
      }
      : answer;
    this.#send(response, shown, effect?.type === "half-answer");
  }

  #worded(denied: StatusError, asked: ResourceRequest): StatusError {
    return asked.name === ""
      ? forbidden(asked.resource, "", denied.message.replace(/^.*? is forbidden: /, ""))
      : denied;
  }

  /** Carries a fault out. Answers whether the request is done with. */
  async #fault(
    effect: FaultEffect,
    context: { response: ServerResponse; asked: ResourceRequest | undefined; user: User },
  ): Promise<boolean> {
    const { response, asked, user } = context;
    switch (effect.type) {
      case "delay":
        await new Promise((resolve) => setTimeout(resolve, effect.ms));
        return false;
      case "half-answer":
        return false;
      case "hang":
        return true;
      case "close":
        response.socket?.destroy();
        return true;
      case "forbid":
        throw new StatusError(403, "Forbidden", { message: `forbidden: User "${user.name}" cannot do this` });
      case "expire":
        if (asked?.verb !== "watch") throw expired("The provided continue parameter is too old");
        response.writeHead(200, { "content-type": "application/json" });
        response.end(
          `${JSON.stringify({ type: "ERROR", object: expired("too old resource version: 1 (2)").toStatus() })}\n`,
        );
        return true;
      case "status":
        if (effect.retryAfterSeconds !== undefined) response.setHeader("retry-after", String(effect.retryAfterSeconds));
        throw new StatusError(effect.code, effect.reason, { message: `fault on order: ${effect.reason}` });
    }
  }

  #matcher(asked: ResourceRequest, url: URL): Matcher {
    const labels = labelMatcher(url.searchParams.get("labelSelector") ?? "");
    const fields = fieldMatcher(url.searchParams.get("fieldSelector") ?? "", asked.resource);
    return (object) => labels(object) && fields(object);
  }

  #answer(asked: ResourceRequest, context: { url: URL; user: User; text: string; request: IncomingMessage }): Answer {
    const { api } = this.#parts;
    const { url, user, text, request } = context;
    const { resource, verb } = asked;
    const query = url.searchParams;
    const agent = (request.headers["user-agent"] ?? "unknown").split("/")[0] ?? "unknown";
    const target: Target = {
      ...asked,
      user,
      manager: query.get("fieldManager") || agent,
      dryRun: query.getAll("dryRun").includes("All"),
    };
    switch (verb) {
      case "list":
        return {
          code: 200,
          body: listPage(api.store, {
            resource,
            namespace: asked.namespace,
            matches: this.#matcher(asked, url),
            limit: Number(query.get("limit") ?? 0),
            continueToken: query.get("continue") ?? "",
            resourceVersion: query.get("resourceVersion") ?? "",
          }),
        };
      case "get":
        return { code: 200, body: asked.subresource === "scale" ? scaleOf(api.get(target)) : api.get(target) };
      case "create":
        checkFields(parseJson(text), asked, query);
        return this.#create(asked, target, parseJson(text));
      case "update":
        if (asked.subresource === "scale") return this.#scale(target, parseJson(text));
        checkFields(parseJson(text), asked, query);
        return { code: 200, body: api.update(target, parseJson(text)) };
      case "patch":
        return this.#patch(target, text, request, query);
      case "delete":
        return this.#delete(target, text, query);
      case "deletecollection":
        return this.#deleteCollection(asked, { target, url, text });
      default:
        throw new StatusError(405, "MethodNotAllowed", {
          message: "the server does not allow this method on the requested resource",
        });
    }
  }

  #create(asked: ResourceRequest, target: Target, body: Json): Answer {
    const { api } = this.#parts;
    if (VIRTUAL_KINDS.has(asked.resource.kind)) return { code: 201, body: review(api, asked, { target, body }) };
    if (asked.subresource === "binding") {
      api.bind(target, body);
      return { code: 201, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 } };
    }
    if (asked.subresource === "eviction") {
      api.delete(target);
      return { code: 201, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 } };
    }
    if (asked.name !== "") {
      throw new StatusError(405, "MethodNotAllowed", {
        message: "the server does not allow this method on the requested resource",
      });
    }
    return { code: 201, body: api.create({ ...target, name: asText(at(body, "metadata", "name")) }, body) };
  }

  #patch(target: Target, text: string, request: IncomingMessage, query: URLSearchParams): Answer {
    const kind = PATCH_KINDS[mediaType(request)];
    if (kind === undefined) {
      throw new StatusError(415, "UnsupportedMediaType", {
        message: "the body of the request was in an unknown format - accepted media types include: " +
          `${Object.keys(PATCH_KINDS).join(", ")}, application/apply-patch+cbor`,
      });
    }
    if (kind === "apply" && query.get("fieldManager") === null) {
      throw invalid({ group: "meta.k8s.io", plural: "", kind: "PatchOptions" }, "", [{
        reason: "FieldValueRequired",
        message: "Required value: is required for apply patch",
        field: "fieldManager",
      }]);
    }
    const force = query.get("force") === "true";
    if (target.subresource === "scale") {
      const scale = scaleOf(this.#parts.api.get(target));
      return this.#scale(target, patched(scale as ApiObject, parseJson(text), { kind, resource: target.resource }));
    }
    if (kind !== "json") {
      checkFields(parseJson(text), { ...target, subresource: target.subresource ?? "" }, query);
    }
    const written = this.#parts.api.patch(target, parseJson(text), { kind, force });
    return { code: written.isNew ? 201 : 200, body: written.object };
  }

  #scale(target: Target, scale: Json): Answer {
    const { api } = this.#parts;
    const object = objectOfScale(api.get(target), scale);
    return { code: 200, body: scaleOf(api.update({ ...target, subresource: "" }, object)) };
  }

  #delete(target: Target, text: string, query: URLSearchParams): Answer {
    const wish = text.trim() === "" ? {} : asObject(parseJson(text));
    const grace = wish["gracePeriodSeconds"] ??
      (query.has("gracePeriodSeconds") ? Number(query.get("gracePeriodSeconds")) : undefined);
    const propagationPolicy = asText(wish["propagationPolicy"]) || query.get("propagationPolicy") || undefined;
    const uid = at(wish, "preconditions", "uid");
    const version = at(wish, "preconditions", "resourceVersion");
    const isDryRun = target.dryRun === true || (Array.isArray(wish["dryRun"]) && wish["dryRun"].includes("All"));
    const { object, isGone } = this.#parts.api.delete({ ...target, dryRun: isDryRun }, {
      ...(typeof grace === "number" ? { gracePeriodSeconds: grace } : {}),
      ...(propagationPolicy === undefined ? {} : { propagationPolicy }),
      ...(typeof uid === "string" ? { uid } : {}),
      ...(typeof version === "string" ? { resourceVersion: version } : {}),
    });
    if (!isGone || RETURNS_DELETED.has(target.resource.kind)) return { code: 200, body: object };
    const details: JsonObject = { name: target.name };
    if (target.resource.group !== "") details["group"] = target.resource.group;
    details["kind"] = target.resource.plural;
    details["uid"] = object.metadata["uid"] ?? "";
    return { code: 200, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details } };
  }

  #deleteCollection(asked: ResourceRequest, context: { target: Target; url: URL; text: string }): Answer {
    const { api } = this.#parts;
    const matches = this.#matcher(asked, context.url);
    const doomed = api.store.list(storeKey(asked.resource)).filter((object) =>
      (asked.namespace === "" || object.metadata["namespace"] === asked.namespace) && matches(object)
    );
    for (const object of doomed) {
      this.#delete(
        {
          ...context.target,
          namespace: asText(object.metadata["namespace"]),
          name: object.metadata.name,
        },
        context.text,
        context.url.searchParams,
      );
    }
    const { resource } = asked;
    return {
      code: 200,
      body: {
        kind: `${resource.kind}List`,
        apiVersion: "v1",
        metadata: { resourceVersion: String(api.store.revision) },
        items: resource.custom ? doomed : doomed.map(({ apiVersion: _version, kind: _kind, ...rest }) => rest),
      },
    };
  }
}

/** Kinds whose deletion is answered with the object. */
const RETURNS_DELETED: ReadonlySet<string> = new Set(["Pod", "Service", "ServiceAccount", "PersistentVolumeClaim"]);

function nameSelected(fieldSelector: string): string {
  if (fieldSelector === "") return "";
  return parseFieldSelector(fieldSelector).find((it) => it.field === "metadata.name" && !it.negated)?.value ?? "";
}
