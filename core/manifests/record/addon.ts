// The AddOn object: the record of what came from which file. Same CRD, annotation and ownership marks as K3s, so that
// AddOns and objects made by K3s are taken over and given back. Pure.
// Facts: k3s `pkg/apis/k3s.cattle.io/v1`, wrangler `pkg/apply` (objectset names and hash).
import { apiVersionOf } from "../../kube/resources.ts";
import { createHash } from "node:crypto";
import type { ResourceType } from "../../kube/contract.ts";
import type { CustomResourceDefinition, KubeObject, ObjectMeta } from "../../kube/types.ts";
import { ADD_ON_TYPE, PACKAGED_NAMESPACE, setMarks } from "../../shared/k3s_names.ts";
import { isDnsSubdomain } from "../../shared/names.ts";

/** An AddOn as it is on the wire; users write "AddOn", the kind is `Addon`. */
export interface AddOn extends KubeObject {
  readonly spec?: {
    /** Path of the file. */
    readonly source?: string;
    /** SHA-256 of the file as last applied without error, in hex; empty while it is being applied. */
    readonly checksum?: string;
  };
}

/** A kind with its group and version. */
export interface ObjectKind {
  readonly apiVersion: string;
  readonly kind: string;
}

/** Where AddOns are. */
export const ADD_ON_NAMESPACE = PACKAGED_NAMESPACE;
/** The AddOn resource. */
export const ADD_ONS: ResourceType<AddOn> = ADD_ON_TYPE;
/** On AddOns: every kind that may have objects of the file. */
export const KINDS_ANNOTATION = "addon.k3s.cattle.io/gvks";
/** On AddOns: the server whose file was applied. */
export const SERVER_ANNOTATION = "k3slb.io/server";
/** On objects that K3s applied: what it applied; it would be stale after this program's own apply. */
export const K3S_APPLIED_ANNOTATION = "objectset.rio.cattle.io/applied";

/** The name of the AddOn for a file: its base name up to the first period; `undefined` if that is no valid name. */
export function addOnNameOf(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).split(".", 1)[0] ?? "";
  return isDnsSubdomain(name) ? name : undefined;
}

/** What goes on every object of the AddOn `name`. */
export function ownershipMarks(name: string): ReturnType<typeof setMarks> {
  return setMarks({ id: "", type: ADD_ON_TYPE, namespace: ADD_ON_NAMESPACE, name });
}

/** Whether the object with `metadata` carries every mark of the AddOn `name`. */
export function isOwnedBy(metadata: ObjectMeta | undefined, name: string): boolean {
  const marks = ownershipMarks(name);
  return Object.entries(marks.labels).every(([key, value]) => metadata?.labels?.[key] === value) &&
    Object.entries(marks.annotations).every(([key, value]) => (metadata?.annotations?.[key] ?? "") === value);
}

/** Kinds as the AddOn's annotation has them: `group/version, Kind=Kind`, joined by `;`, sorted, each once. */
export function renderKinds(kinds: readonly ObjectKind[]): string {
  const texts = kinds.map(({ apiVersion, kind }) => {
    return `${apiVersion.includes("/") ? apiVersion : `/${apiVersion}`}, Kind=${kind}`;
  });
  return [...new Set(texts)].sort().join(";");
}

/** The kinds in the AddOn's annotation; what can't be read is left out. */
export function parseKinds(text: string | undefined): readonly ObjectKind[] {
  return (text ?? "").split(";").flatMap((part) => {
    const match = /^\s*([^\s,]*)\/([^\s,/]+),\s*Kind=(\S+)\s*$/.exec(part);
    if (match === null) return [];
    const [, group = "", version = "", kind = ""] = match;
    return [{ apiVersion: apiVersionOf({ group, version }), kind }];
  });
}

/** What an AddOn says about a file. */
export interface AddOnRecord {
  readonly name: string;
  readonly source: string;
  readonly checksum: string;
  readonly kinds: readonly ObjectKind[];
  /** The server whose file it is. */
  readonly server: string;
}

/** The AddOn to apply for `record`. */
export function desiredAddOn(record: AddOnRecord): AddOn {
  return {
    apiVersion: apiVersionOf(ADD_ON_TYPE),
    kind: ADD_ONS.kind,
    metadata: {
      name: record.name,
      namespace: ADD_ON_NAMESPACE,
      annotations: { [KINDS_ANNOTATION]: renderKinds(record.kinds), [SERVER_ANNOTATION]: record.server },
    },
    spec: { source: record.source, checksum: record.checksum },
  };
}

/** Whether the AddOn `seen` already says what `record` says. */
export function saysSame(seen: AddOn | undefined, record: AddOnRecord): boolean {
  const annotations = seen?.metadata?.annotations;
  return seen?.spec?.source === record.source && (seen.spec.checksum ?? "") === record.checksum &&
    annotations?.[KINDS_ANNOTATION] === renderKinds(record.kinds) &&
    annotations[SERVER_ANNOTATION] === record.server;
}

/** SHA-256 of a file's bytes, in hex. */
export function checksumOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The CRD of AddOns, as K3s has it. */
export const ADD_ON_CRD: CustomResourceDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "addons.k3s.cattle.io" },
  spec: {
    group: ADD_ON_TYPE.group,
    scope: "Namespaced",
    names: { kind: "Addon", listKind: "AddonList", plural: "addons", singular: "addon" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      additionalPrinterColumns: [
        { name: "Source", type: "string", jsonPath: ".spec.source" },
        { name: "Checksum", type: "string", jsonPath: ".spec.checksum" },
      ],
      schema: {
        openAPIV3Schema: {
          type: "object",
          properties: {
            spec: {
              type: "object",
              properties: {
                source: { type: "string", nullable: true },
                checksum: { type: "string", nullable: true },
              },
            },
          },
        },
      },
    }],
  },
};
