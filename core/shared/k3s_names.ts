// Names of K3s and its libraries that several features read and write: the data folder, the marks on objects that were made for another one,
// AddOns, HelmCharts. Pure.
// Facts: k3s `pkg/deploy` and `pkg/apis`, helm-controller `pkg/apis`, wrangler `pkg/apply` (objectset names and hash).
import { createHash } from "node:crypto";
import { join } from "node:path";

/** Namespace of AddOns and of all that is packaged. */
export const PACKAGED_NAMESPACE = "kube-system";

/** AddOns as the API has them; users write "AddOn", the kind is `Addon`. */
export const ADD_ON_TYPE = {
  group: "k3s.cattle.io",
  version: "v1",
  kind: "Addon",
  plural: "addons",
  namespaced: true,
} as const;

/** HelmCharts as the API has them. */
export const HELM_CHART_TYPE = {
  group: "helm.cattle.io",
  version: "v1",
  kind: "HelmChart",
  plural: "helmcharts",
  namespaced: true,
  keepsIntegers: true,
} as const;

/** On HelmCharts: every Helm controller leaves them alone. */
export const UNMANAGED_ANNOTATION = "helmcharts.helm.cattle.io/unmanaged";

/** On objects: a hash that is the same for all that were made for one owner. */
export const SET_HASH_LABEL = "objectset.rio.cattle.io/hash";
export const SET_ID_ANNOTATION = "objectset.rio.cattle.io/id";
export const OWNER_KIND_ANNOTATION = "objectset.rio.cattle.io/owner-gvk";
export const OWNER_NAME_ANNOTATION = "objectset.rio.cattle.io/owner-name";
export const OWNER_NAMESPACE_ANNOTATION = "objectset.rio.cattle.io/owner-namespace";

/** For whom objects are made. */
export interface SetOwner {
  /** Tells several sets of one owner apart. */
  readonly id: string;
  readonly type: { readonly group: string; readonly version: string; readonly kind: string };
  readonly namespace: string;
  readonly name: string;
}

/** A kind as the marks have it. */
export function ownerKindOf({ group, version, kind }: SetOwner["type"]): string {
  return `${group}/${version}, Kind=${kind}`;
}

/** What goes on every object that is made for `owner`. */
export function setMarks({ id, type, namespace, name }: SetOwner): {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
} {
  const annotations = {
    [SET_ID_ANNOTATION]: id,
    [OWNER_KIND_ANNOTATION]: ownerKindOf(type),
    [OWNER_NAME_ANNOTATION]: name,
    [OWNER_NAMESPACE_ANNOTATION]: namespace,
  };
  const hash = createHash("sha1");
  // The values only, in this order: the hash that objects made by K3s carry already.
  for (const value of Object.values(annotations)) hash.update(value);
  return { labels: { [SET_HASH_LABEL]: hash.digest("hex") }, annotations };
}

/** The folder of manifests below a data folder. */
export function manifestsFolder(dataDir: string): string {
  return join(dataDir, "server", "manifests");
}

/** The folder of chart archives below a data folder. */
export function chartsFolder(dataDir: string): string {
  return join(dataDir, "server", "static", "charts");
}
