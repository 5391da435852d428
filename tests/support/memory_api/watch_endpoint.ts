// The HTTP side of a watch: its parameters, its timers, its stream.
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Api } from "./api.ts";
import type { ResourceRequest } from "./request.ts";
import type { Matcher } from "./selectors.ts";
import { badRequest, invalid } from "./status_error.ts";
import { tableOf, type TableWish } from "./tables.ts";
import { Watch } from "./watch.ts";

/** A watch without a wish ends after this time, as on a real server (30 to 60 minutes). */
const DEFAULT_WATCH_SECONDS = 1_800;

/** What watches share. */
export interface WatchParts {
  readonly api: Api;
  readonly watches: Set<Watch>;
  readonly bookmarkIntervalMs: number;
}

/** One request. */
export interface WatchContext {
  readonly url: URL;
  readonly response: ServerResponse;
  readonly matches: Matcher;
  /** Show objects as rows of a table. */
  readonly table?: TableWish | undefined;
}

/** Answers a watch request; the answer goes on until the watch ends. */
export function openWatch(parts: WatchParts, asked: ResourceRequest, context: WatchContext): void {
  const { api, watches, bookmarkIntervalMs } = parts;
  const { url, response, matches, table } = context;
  const query = url.searchParams;
  const resourceVersion = query.get("resourceVersion") ?? "";
  const sendInitialEvents = query.get("sendInitialEvents") === "true";
  if (sendInitialEvents && query.get("resourceVersionMatch") !== "NotOlderThan") {
    throw invalid({ group: "meta.k8s.io", plural: "", kind: "ListOptions" }, "", [{
      reason: "FieldValueForbidden",
      message: "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      field: "resourceVersionMatch",
    }]);
  }
  if (!/^\d*$/.test(resourceVersion)) throw badRequest(`invalid resource version "${resourceVersion}"`);
  response.writeHead(200, {
    "content-type": "application/json",
    "transfer-encoding": "chunked",
    "audit-id": randomUUID(),
  });
  response.flushHeaders();
  const timers: (ReturnType<typeof setTimeout> | undefined)[] = [];
  const watch = new Watch(api.store, {
    resource: asked.resource,
    namespace: asked.namespace,
    matches,
    resourceVersion,
    sendInitialEvents,
    allowBookmarks: query.get("allowWatchBookmarks") === "true",
    show: (object) => {
      if (table === undefined) return object;
      const { resourceVersion = "" } = object.metadata;
      return tableOf([object], { resourceVersion }, { ...table, now: new Date() });
    },
  }, {
    write: (text) => void response.write(text),
    end: () => {
      for (const timer of timers) clearTimeout(timer);
      watches.delete(watch);
      response.end();
    },
  });
  watches.add(watch);
  response.on("close", () => watch.end());
  const seconds = Number(query.get("timeoutSeconds") ?? 0) || DEFAULT_WATCH_SECONDS;
  timers.push(setTimeout(() => {
    watch.bookmark();
    watch.end();
  }, seconds * 1000));
  timers.push(setInterval(() => watch.bookmark(), bookmarkIntervalMs));
  watch.start();
}
