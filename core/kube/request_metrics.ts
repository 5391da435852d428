// Requests to the API server as metrics.
import type { MetricRegistry } from "../runtime/metrics.ts";
import type { RequestObservation } from "./transport.ts";

/** An observer that counts and times requests in `metrics`. */
export function observeRequests(metrics: MetricRegistry): (observation: RequestObservation) => void {
  const requests = metrics.counter({
    name: "k3slb_kube_requests_total",
    help: "Requests to the API server by verb, resource and result",
  });
  const durations = metrics.histogram({
    name: "k3slb_kube_request_duration_seconds",
    help: "Time until the answer of the API server began, by verb",
  });
  return ({ verb, resource, result, durationMs }) => {
    requests.add({ verb, resource, result });
    durations.observe(durationMs / 1000, { verb });
  };
}
