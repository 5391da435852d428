// Requests to the API server as metrics: how many, with which result, how long; and how often watches had to be opened again.
import type { MetricRegistry } from "../runtime/metrics.ts";
import type { KubeClientOptions } from "./client.ts";

/** Registers the metrics of requests, and returns what fills them. */
export function createRequestMetrics(registry: MetricRegistry): Pick<KubeClientOptions, "onRequest" | "onWatchEnd"> {
  const requests = registry.counter({
    name: "k3slb_api_requests_total",
    help:
      "Requests to the Kubernetes API server by verb, resource and code, which is the HTTP status, or an error's if none came.",
  });
  const durations = registry.histogram({
    name: "k3slb_api_request_duration_seconds",
    help: "Time until the answer was complete; of a watch, until it started.",
  });
  const restarts = registry.counter({
    name: "k3slb_watch_restarts_total",
    help:
      "Watches that ended and were opened again, by resource and reason: ended by the server in order, or an error code.",
  });
  return {
    onRequest: ({ verb, resource, result: code, durationMs }) => {
      // Paths of raw requests would be a series each.
      requests.add({ verb, resource: resource.startsWith("/") ? "other" : resource, code });
      durations.observe(durationMs / 1000, { verb });
    },
    onWatchEnd: (resource, reason) => restarts.add({ resource, reason }),
  };
}
