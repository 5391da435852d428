// Requests to the API server as metrics: how many, with which result, how long.
import type { MetricRegistry } from "../runtime/metrics.ts";
import type { RequestObservation } from "./transport.ts";

/**
 * Registers `k3slb_api_requests_total` (verb, resource, result) and `k3slb_api_request_duration_seconds` (verb; of a watch, the
 * time until its start), and returns what the client's `onRequest` takes.
 */
export function createRequestMetrics(registry: MetricRegistry): (observation: RequestObservation) => void {
  const requests = registry.counter({
    name: "k3slb_api_requests_total",
    help: "Requests to the Kubernetes API server by verb, resource and HTTP status or error code.",
  });
  const durations = registry.histogram({
    name: "k3slb_api_request_duration_seconds",
    help: "Time until the answer was complete; of a watch, until it started.",
  });
  return ({ verb, resource, result, durationMs }) => {
    // Paths of raw requests would be a series each.
    requests.add({ verb, resource: resource.startsWith("/") ? "other" : resource, result });
    durations.observe(durationMs / 1000, { verb });
  };
}
