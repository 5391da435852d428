// Failures of deploying, in words that name file, document and line. Pure.
import type { UnknownObject } from "../../kube/types.ts";
import { errorHint, errorMessage, isK3slbError, K3slbError } from "../../shared/errors.ts";
import type { ManifestObject } from "../objects/parse_manifests.ts";
import type { SeenObject } from "./prune_plan.ts";

/** One object that the server does not take. */
export interface ObjectFailure {
  readonly object: ManifestObject;
  readonly error: unknown;
}

/** What is known to be wrong with an object of a kind that another part of this program takes care of. */
export type ProblemsOf = (object: UnknownObject) => readonly string[];

/** The error for a file of which objects were refused; the first one is told in full. Code "manifest-apply" or "manifest-kind". */
export function applyError(
  source: string,
  failures: readonly [ObjectFailure, ...ObjectFailure[]],
  problemsOf: ProblemsOf,
): K3slbError {
  const [{ object, error: refusal }] = failures;
  // The server answers a wrong type with the whole schema.
  const known = ["kube-invalid", "kube-bad-request"].some((code) => isK3slbError(refusal, code))
    ? problemsOf(object.object).join("; ")
    : "";
  const error = known === "" ? refusal : new K3slbError(known, { code: "manifest-apply", cause: refusal });
  const more = failures.length > 1 ? ` (and ${failures.length - 1} more objects)` : "";
  const isKindMissing = isK3slbError(error, "manifest-kind");
  // The server repeats what it does not like; of a Secret that may be the secret.
  const isSecret = object.kind === "Secret" && !isKindMissing;
  const why = isSecret ? "server refuses the Secret" : errorMessage(error);
  const hint = errorHint(error);
  return new K3slbError(
    `Cannot apply manifest "${source}" (document ${object.document}, line ${object.line}): ` +
      `${object.kind} "${object.name}": ${why}${more}`,
    {
      code: isKindMissing ? "manifest-kind" : "manifest-apply",
      ...(hint === undefined ? {} : { hint }),
      retriable: true,
      details: { document: object.document, line: object.line },
      ...(isSecret ? {} : { cause: error }),
    },
  );
}

/** The error for a kind that the server does not have. Code "manifest-kind". */
export function kindError(object: ManifestObject): K3slbError {
  return new K3slbError(`The server does not have the kind "${object.kind}" in "${object.apiVersion}"`, {
    code: "manifest-kind",
    hint: "Check apiVersion and kind, or install the CustomResourceDefinition; the file is tried again",
    retriable: true,
  });
}

/** The error for an object that is being deleted, such as one that another file had before. Code "manifest-apply". */
export function leavingError(): K3slbError {
  return new K3slbError("It is being deleted", {
    code: "manifest-apply",
    hint: "The file is tried again; if the object stays, see its metadata.finalizers",
    retriable: true,
  });
}

/** The error for a file that is not finished before another one has taken over what left it. Code "manifest-moving". */
export function movingError(source: string, moved: readonly SeenObject[]): K3slbError {
  const names = moved.map(({ type, object }) => `${type.kind} "${object.metadata?.name}"`).join(", ");
  return new K3slbError(`Another file than "${source}" has ${names} now and must take over first`, {
    code: "manifest-moving",
    hint: "See why that file is not applied",
    retriable: true,
  });
}
