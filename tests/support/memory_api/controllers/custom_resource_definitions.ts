// CustomResourceDefinitions become Established, and take their objects with them when they go
// (k8s.io/apiextensions-apiserver `pkg/controller/establish`, `finalizer`).
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, type Json } from "../json.ts";
import { type ApiObject, objectKey } from "../store.ts";
import { storeKey } from "../resources.ts";

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";

/** Starts the controller; the returned function stops it. */
export function startCustomResourceDefinitions(api: Api): () => void {
  const establish = (crd: ApiObject): void => {
    const live = api.store.get(CRDS, objectKey(crd));
    if (live === undefined || asList(at(live, "status", "conditions")).length > 0) return;
    const now = api.now();
    const conditions: Json[] = [
      {
        type: "NamesAccepted",
        status: "True",
        reason: "NoConflicts",
        message: "no conflicts found",
        lastTransitionTime: now,
      },
      {
        type: "Established",
        status: "True",
        reason: "InitialNamesAccepted",
        message: "the initial names have been accepted",
        lastTransitionTime: now,
      },
    ];
    const stored = asList(at(live, "spec", "versions")).filter((it) => at(it, "storage") === true).map((it) =>
      at(it, "name") ?? ""
    );
    api.store.put(CRDS, {
      ...live,
      status: { conditions, acceptedNames: asObject(at(live, "spec", "names")), storedVersions: stored },
    });
  };
  const pending = new Set<ReturnType<typeof setTimeout>>();
  const stopListening = api.store.subscribe((event) => {
    if (event.resource !== CRDS) return;
    if (event.type === "DELETED") {
      const key = storeKey({
        group: asText(at(event.object, "spec", "group")),
        plural: asText(at(event.object, "spec", "names", "plural")),
      });
      for (const object of api.store.list(key)) api.store.remove(key, objectKey(object));
      return;
    }
    if (asList(at(event.object, "status", "conditions")).length > 0) return;
    // Not inside the write itself: its answer shows the object without conditions, as on a real server.
    const timer = setTimeout(() => {
      pending.delete(timer);
      establish(event.object);
    }, 0);
    pending.add(timer);
  });
  return () => {
    stopListening();
    for (const timer of pending) clearTimeout(timer);
  };
}
