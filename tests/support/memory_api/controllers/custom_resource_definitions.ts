// CustomResourceDefinitions become Established, and take their objects with them when they go
// (k8s.io/apiextensions-apiserver `pkg/controller/establish`, `finalizer`).
import { type Api, DEFINITION_FINALIZER } from "../api.ts";
import type { Target } from "../write_rules.ts";
import { asList, asObject, asText, at, type Json } from "../json.ts";
import { storeKey } from "../resources.ts";
import { type ApiObject, objectKey } from "../store.ts";
import { startLoop } from "./loop.ts";

const CRDS = "customresourcedefinitions.apiextensions.k8s.io";

class Definitions {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  reconcile(key: string): void {
    const crd = this.#api.store.get(CRDS, key);
    if (crd === undefined) return;
    if (crd.metadata["deletionTimestamp"] !== undefined) this.#finish(crd);
    else if (asList(at(crd, "status", "conditions")).length === 0) this.#establish(crd);
  }

  #target(crd: ApiObject, subresource: string): Target | undefined {
    const resource = this.#api.resources.byStoreKey(CRDS);
    if (resource === undefined) return undefined;
    const user = { name: "system:apiserver", groups: ["system:masters"] };
    return { resource, namespace: "", name: crd.metadata.name, subresource, user, manager: "kube-apiserver" };
  }

  #establish(crd: ApiObject): void {
    const target = this.#target(crd, "status");
    if (target === undefined) return;
    const base = { status: "True", lastTransitionTime: this.#api.now() };
    const conditions: Json[] = [
      { ...base, type: "NamesAccepted", reason: "NoConflicts", message: "no conflicts found" },
      { ...base, type: "Established", reason: "InitialNamesAccepted", message: "the initial names have been accepted" },
    ];
    const acceptedNames = asObject(at(crd, "spec", "names"));
    this.#api.update(target, { ...crd, status: { ...asObject(crd["status"]), conditions, acceptedNames } });
  }

  #finish(crd: ApiObject): void {
    const group = asText(at(crd, "spec", "group"));
    const key = storeKey({ group, plural: asText(at(crd, "spec", "names", "plural")) });
    for (const object of this.#api.store.list(key)) this.#api.store.remove(key, objectKey(object));
    const target = this.#target(crd, "");
    const finalizers = asList(crd.metadata["finalizers"]).filter((it) => it !== DEFINITION_FINALIZER);
    if (target !== undefined) this.#api.patch(target, { metadata: { finalizers } }, { kind: "merge" });
  }
}

/** Starts the controller; the returned function stops it. */
export function startCustomResourceDefinitions(api: Api): () => void {
  const definitions = new Definitions(api);
  return startLoop(api, [...api.store.values(CRDS)].map(objectKey), {
    keysOf: (event) => event.resource === CRDS && event.type !== "DELETED" ? [objectKey(event.object)] : [],
    reconcile: (key) => definitions.reconcile(key),
  });
}
