// The requests that the in-memory API server is held to the real one by. Steps run in order on one server; `{rv:STEP}`,
// `{uid:STEP}` and `{continue:STEP}` stand for values from an earlier answer.
// Nothing here waits for a controller: both servers run without those that would change these objects.
import { APPLY } from "./conformance_apply_steps.ts";
import { CUSTOM } from "./conformance_custom_steps.ts";
import { CONFIG_MAPS, PAGES, PATHS } from "./conformance_object_steps.ts";
import { NODE_RIGHTS, PODS } from "./conformance_pod_steps.ts";
import { SERVICES } from "./conformance_service_steps.ts";
import { NAMESPACE, type Step } from "./conformance_step.ts";

/** All requests, after the one that makes the namespace. */
export const STEPS: readonly Step[] = [
  {
    name: "namespace",
    method: "POST",
    path: "/api/v1/namespaces?fieldManager=maker",
    body: { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
  },
  ...CONFIG_MAPS,
  ...APPLY,
  ...SERVICES,
  ...PODS,
  ...NODE_RIGHTS,
  ...CUSTOM,
  ...PAGES,
  ...PATHS,
];
