// Events on AddOns: their reasons, and what they are about. Pure.
import { apiVersionOf } from "../../kube/resources.ts";
import { present } from "../../shared/values.ts";
import type { EventContent, EventRecorder, ObjectReference } from "../../kube/events.ts";
import { ADD_ON_NAMESPACE, ADD_ONS, type AddOn } from "./addon.ts";

/** Where Events go. */
export type ManifestEvents = Pick<EventRecorder, "record">;

/** Reasons of Events on AddOns; the first seven are K3s's. */
export type ManifestEventReason =
  | "ReadManifestFailed"
  | "ParseManifestFailed"
  | "ValidateManifestFailed"
  | "ApplyingManifest"
  | "ApplyManifestFailed"
  | "AppliedManifest"
  | "DeletingManifest"
  | "ConflictingManifest"
  | "ManifestsDiffer"
  | "KeptObjects"
  | "RepairedObjects";

const NORMAL_REASONS: ReadonlySet<ManifestEventReason> = new Set<ManifestEventReason>([
  "ApplyingManifest",
  "AppliedManifest",
  "DeletingManifest",
  "RepairedObjects",
]);

/** The Event for `reason`; what needs nobody's attention is Normal. */
export function eventOf(reason: ManifestEventReason, message: string): EventContent {
  return { type: NORMAL_REASONS.has(reason) ? "Normal" : "Warning", reason, message };
}

/** The reference to the AddOn `name`, whether it is there or not. */
export function subjectOf(name: string, addOn: AddOn | undefined): ObjectReference {
  const uid = addOn?.metadata?.uid;
  return present({ apiVersion: apiVersionOf(ADD_ONS), kind: ADD_ONS.kind, namespace: ADD_ON_NAMESPACE, name, uid });
}
