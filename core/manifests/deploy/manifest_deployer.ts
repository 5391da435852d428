// One file's objects onto the server, and off it. The order makes every interruption harmless: first the AddOn names all kinds and loses its
// checksum, then objects are applied, then old ones are pruned, and last the AddOn gets the checksum. Which files, and when: manifest_controller.ts.
import { isTrue } from "../../kube/conditions.ts";
import { findObject, identityOf, keyOf, removeObject } from "../../kube/one_object.ts";
import type { KubeClient, ResourceType } from "../../kube/contract.ts";
import type { ObjectReference } from "../../kube/events.ts";
import { objectKey } from "../../kube/request_path.ts";
import { apiVersionOf, CUSTOM_RESOURCE_DEFINITIONS } from "../../kube/resources.ts";
import type { KubeObject } from "../../kube/types.ts";
import type { Clock } from "../../runtime/clock.ts";
import { inParallel } from "../../runtime/in_parallel.ts";
import { errorMessage, isAbort, isK3slbError, K3slbError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import {
  ADD_ON_CRD,
  ADD_ON_NAMESPACE,
  ADD_ONS,
  type AddOn,
  type AddOnRecord,
  checksumOf,
  desiredAddOn,
  type ObjectKind,
  saysSame,
  SERVER_ANNOTATION,
} from "../record/addon.ts";
import { adoptedFields } from "../objects/adopted_fields.ts";
import { applyPhases, CRD_KIND, objectToApply } from "../objects/apply_plan.ts";
import {
  applyError,
  kindError,
  leavingError,
  movingError,
  type ObjectFailure,
  type ProblemsOf,
} from "./deploy_errors.ts";
import { dryRun } from "../objects/dry_run.ts";
import type { KindCatalog } from "../objects/kind_catalog.ts";
import { type LocatedObject, type ManifestObject } from "../objects/parse_manifests.ts";
import { readObjects } from "../objects/read_objects.ts";
import { eventOf, type ManifestEventReason, type ManifestEvents, subjectOf } from "../record/manifest_events.ts";
import { PARALLEL_REQUESTS, pruneObjects } from "./prune_objects.ts";
import { kindsToSearch, type PrunePlan, type SeenObject } from "./prune_plan.ts";

/** What {@linkcode ManifestDeployer} works with. */
export interface DeployerOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: ManifestEvents;
  readonly kinds: KindCatalog;
  /** Name of this server, for the record. */
  readonly server: string;
  /** What other files than the AddOn's have. */
  readonly objectsOfOthers: (addOn: string) => Promise<readonly ManifestObject[]>;
  readonly problemsOf: ProblemsOf;
}

/** One file to deploy. */
export interface DeployInput {
  readonly addOn: string;
  /** Path of the file. */
  readonly source: string;
  readonly bytes: Uint8Array;
  /** Apply although the AddOn has the same checksum. */
  readonly force: boolean;
  /** Tell nobody of a file that can't be parsed: it may be half-written. */
  readonly isForgiving: boolean;
  readonly signal: AbortSignal;
}

const MAX_TOLD_FIELDS = 3;
const ESTABLISHED_TIMEOUT_MS = 15_000;
const ESTABLISHED_POLL_MS = 100;

/** Deploys files and removes what they deployed. */
export class ManifestDeployer {
  readonly #options: DeployerOptions;
  /** AddOns whose last deployment failed and was told. */
  readonly #failed = new Set<string>();

  constructor(options: DeployerOptions) {
    this.#options = options;
  }

  /** Makes sure that the server knows AddOns. */
  async ensureAddOnKind(signal: AbortSignal): Promise<void> {
    const { client } = this.#options;
    const name = ADD_ON_CRD.metadata?.name ?? "";
    // K3s's own definition, or an older one, serves as well.
    const seen = await findObject(client, CUSTOM_RESOURCE_DEFINITIONS, { key: { name }, signal });
    if (seen === undefined) await client.apply(CUSTOM_RESOURCE_DEFINITIONS, ADD_ON_CRD, { signal });
    await this.#untilEstablished([name], signal);
  }

  /** The AddOn `name`, if there is one. */
  readAddOn(name: string, signal: AbortSignal): Promise<AddOn | undefined> {
    return findObject(this.#options.client, ADD_ONS, { key: { namespace: ADD_ON_NAMESPACE, name }, signal });
  }

  /** Every AddOn. */
  async listAddOns(signal: AbortSignal): Promise<readonly AddOn[]> {
    return (await this.#options.client.list(ADD_ONS, { namespace: ADD_ON_NAMESPACE, signal })).items;
  }

  /**
   * Brings the server to what the file says. Resolves with whether kinds or namespaces may be there now that others wait for.
   *
   * @throws {K3slbError} code "yaml-invalid" or "manifest-invalid" if the file has to change first, "manifest-apply" if the
   * server refuses objects, "manifest-moving" until another file has taken over what left this one
   */
  async deploy(input: DeployInput): Promise<boolean> {
    const { addOn, source, signal } = input;
    const checksum = checksumOf(input.bytes);
    const seen = await this.readAddOn(addOn, signal);
    if (!input.force && seen?.spec?.checksum === checksum && seen.spec.source === source) return false;
    const objects = await this.#parse(input, seen);
    this.#warnOfOtherServer(seen, { ...input, checksum });
    const present = objects.map(({ apiVersion, kind }): ObjectKind => ({ apiVersion, kind }));
    const allKinds = kindsToSearch(seen, present);
    const record: AddOnRecord = { name: addOn, source, checksum, kinds: allKinds, server: this.#options.server };
    const marked = await this.#markUnfinished(seen, record, signal);
    const subject = subjectOf(addOn, marked);
    // Every start reconciles every file: two Events for each that is as it was would bury the ones that say something.
    const isNews = seen === undefined || !saysSame(seen, record) || this.#failed.has(addOn);
    if (isNews) this.#record(subject, "ApplyingManifest", `Applying manifest at "${source}"`);
    let pruned: PrunePlan;
    try {
      const applied = await this.#applyAll(objects, input);
      pruned = await this.#prune({ addOn, kinds: allKinds, applied, subject, signal });
    } catch (error) {
      if (!isAbort(error)) {
        this.#failed.add(addOn);
        const reason = isK3slbError(error, "manifest-kind") ? "ValidateManifestFailed" : "ApplyManifestFailed";
        this.#record(subject, reason, errorMessage(error));
      }
      throw error;
    }
    this.#failed.delete(addOn);
    if (pruned.moved.length > 0) throw movingError(source, pruned.moved);
    const kinds = [...present, ...pruned.keep.map(kindOf)];
    await this.#writeRecord(marked, { ...record, kinds }, signal);
    if (isNews) this.#record(subject, "AppliedManifest", `Applied manifest at "${source}"`);
    this.#options.logger.info("Applied manifest", { addOn, source, objects: objects.length });
    return present.some(({ kind }) => kind === CRD_KIND || kind === "Namespace");
  }

  /** Puts back what others changed since the file was applied; writes only where something differs. */
  async repair(input: Pick<DeployInput, "addOn" | "source" | "bytes" | "signal">): Promise<void> {
    const { addOn, source, signal } = input;
    const repaired: string[] = [];
    for (const object of await readObjects(input.bytes, source, signal)) {
      const located = { ...object, type: await this.#locate(object, signal) };
      const fields = await dryRun(this.#options.client, { located, addOn, signal });
      if (fields?.length === 0) continue;
      await this.#applyOne(located, input);
      const drift = fields?.map(({ path }) => path) ?? ["(missing)"];
      repaired.push(`${object.kind} "${object.name}" (${drift.slice(0, MAX_TOLD_FIELDS).join(", ")})`);
    }
    if (repaired.length === 0) return;
    const subject = subjectOf(addOn, await this.readAddOn(addOn, signal));
    const message = `Put back what others changed: ${repaired.join("; ")}; to change it for good, edit "${source}"`;
    this.#record(subject, "RepairedObjects", message);
    this.#options.logger.warn(message, { addOn });
  }

  /** Removes the objects of an AddOn, then calls `beforeRecord`, then removes the AddOn itself. Safe to repeat. */
  async remove(
    addOn: string,
    options: { readonly signal: AbortSignal; readonly reason: string; readonly beforeRecord?: () => Promise<void> },
  ): Promise<void> {
    const seen = await this.readAddOn(addOn, options.signal);
    if (seen !== undefined) {
      const subject = subjectOf(addOn, seen);
      this.#record(subject, "DeletingManifest", `Deleting manifest at "${seen.spec?.source ?? ""}": ${options.reason}`);
      const kinds = kindsToSearch(seen);
      const { moved } = await this.#prune({ addOn, kinds, applied: [], subject, signal: options.signal });
      if (moved.length > 0) throw movingError(seen.spec?.source ?? "", moved);
    }
    await options.beforeRecord?.();
    this.#failed.delete(addOn);
    if (seen === undefined) return;
    await removeObject(this.#options.client, ADD_ONS, { ...identityOf(seen), signal: options.signal });
    this.#options.logger.info("Removed manifest", { addOn, reason: options.reason });
  }

  /** Says something about an AddOn, as Event and in the log. */
  say(addOn: string, seen: AddOn | undefined, reason: ManifestEventReason, message: string): void {
    this.#record(subjectOf(addOn, seen), reason, message);
    this.#options.logger.warn(message, { addOn });
  }

  async #parse(input: DeployInput, seen: AddOn | undefined): Promise<readonly ManifestObject[]> {
    try {
      return await readObjects(input.bytes, input.source, input.signal);
    } catch (error) {
      if (input.isForgiving) throw error;
      // The Events need something to stand on, or nobody finds them.
      const record = { name: input.addOn, source: input.source, checksum: "", kinds: [], server: this.#options.server };
      const addOn = seen ?? await this.#writeRecord(undefined, record, input.signal);
      this.#record(subjectOf(input.addOn, addOn), "ParseManifestFailed", errorMessage(error));
      throw error;
    }
  }

  #warnOfOtherServer(seen: AddOn | undefined, input: DeployInput & { readonly checksum: string }): void {
    const other = seen?.metadata?.annotations?.[SERVER_ANNOTATION];
    if (other === undefined || other === this.#options.server) return;
    const theirs = seen?.spec?.checksum ?? "";
    if (theirs === "" || theirs === input.checksum) return;
    const message =
      `Server "${other}" applied another content for "${input.source}" (SHA-256 ${theirs.slice(0, 12)}) than ` +
      `server "${this.#options.server}" has now (${
        input.checksum.slice(0, 12)
      }); keep the file the same on all servers`;
    this.say(input.addOn, seen, "ManifestsDiffer", message);
  }

  /** After this, dying at any point makes the next start apply the file again. */
  async #markUnfinished(seen: AddOn | undefined, record: AddOnRecord, signal: AbortSignal): Promise<AddOn> {
    // A forced reconcile of unchanged content has nothing to lose, also when another server made it: it ends where it began.
    const server = seen?.metadata?.annotations?.[SERVER_ANNOTATION] ?? record.server;
    if (seen !== undefined && saysSame(seen, { ...record, server })) return seen;
    return await this.#writeRecord(seen, { ...record, checksum: "" }, signal);
  }

  async #writeRecord(seen: AddOn | undefined, record: AddOnRecord, signal: AbortSignal): Promise<AddOn> {
    if (seen !== undefined && saysSame(seen, record)) return seen;
    return await this.#options.client.apply(ADD_ONS, desiredAddOn(record), { signal });
  }

  async #applyAll(objects: readonly ManifestObject[], input: DeployInput): Promise<readonly SeenObject[]> {
    const applied: SeenObject[] = [];
    const failures: ObjectFailure[] = [];
    for (const phase of applyPhases(objects)) {
      await inParallel(phase, PARALLEL_REQUESTS, async (object) => {
        input.signal.throwIfAborted();
        try {
          const type = await this.#locate(object, input.signal);
          const result = await this.#applyOne({ ...object, type }, input);
          // Applied to, it goes all the same; the record must not say that it is there.
          if (result.metadata?.deletionTimestamp !== undefined) throw leavingError();
          applied.push({ type, object: result });
        } catch (error) {
          if (isAbort(error)) throw error;
          failures.push({ object, error });
        }
      });
      const crds = phase.filter(({ kind }) => kind === CRD_KIND);
      if (crds.length === 0) continue;
      this.#options.kinds.forget();
      const failed = new Set(failures.map(({ object }) => object.name));
      await this.#untilEstablished(crds.map(({ name }) => name).filter((name) => !failed.has(name)), input.signal);
    }
    const [first, ...others] = failures.sort((a, b) => a.object.line - b.object.line);
    if (first !== undefined) throw applyError(input.source, [first, ...others], this.#options.problemsOf);
    return applied;
  }

  async #locate(object: ManifestObject, signal: AbortSignal): Promise<ResourceType> {
    const type = await this.#options.kinds.find(object, { signal });
    if (type !== undefined) return type;
    throw kindError(object);
  }

  async #applyOne(located: LocatedObject, input: Pick<DeployInput, "addOn" | "signal">): Promise<KubeObject> {
    const { client } = this.#options;
    const apply = (): Promise<KubeObject> =>
      client.apply<KubeObject>(located.type, objectToApply(located, input.addOn), {
        signal: input.signal,
        fieldValidation: "Strict",
        force: true,
      });
    const result = await apply();
    const managedFields = adoptedFields(result.metadata?.managedFields);
    if (managedFields === undefined) return result;
    const { resourceVersion } = result.metadata ?? {};
    await client.patch<KubeObject>(located.type, keyOf(result), {
      type: "json",
      body: [
        { op: "replace", path: "/metadata/managedFields", value: managedFields },
        { op: "replace", path: "/metadata/resourceVersion", value: resourceVersion },
      ],
    }, { signal: input.signal });
    return await apply();
  }

  /** Removes what the file no longer has; the result says what stays all the same. */
  async #prune(input: {
    readonly addOn: string;
    readonly kinds: readonly ObjectKind[];
    readonly applied: readonly SeenObject[];
    readonly subject: ObjectReference;
    readonly signal: AbortSignal;
  }): Promise<PrunePlan> {
    const { addOn, signal } = input;
    const { client, kinds, logger, objectsOfOthers } = this.#options;
    const plan = await pruneObjects({
      client,
      kinds,
      logger,
      addOn,
      search: input.kinds,
      applied: input.applied,
      claims: () => objectsOfOthers(addOn),
      signal,
    });
    if (plan.keep.length > 0) {
      const names = plan.keep.map(({ type, object }) => `${type.kind} ${objectKey(object)}`).join(", ");
      const message =
        `Kept although no file has them any more: ${names}; annotate them k3slb.io/prune=true to let them go`;
      this.#record(input.subject, "KeptObjects", message);
      this.#options.logger.warn(message, { addOn });
    }
    return plan;
  }

  async #untilEstablished(names: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + ESTABLISHED_TIMEOUT_MS;
    for (const name of names) {
      while (!isTrue(await client.get(CUSTOM_RESOURCE_DEFINITIONS, { name }, { signal }), "Established")) {
        if (clock.monotonicMs() > deadlineMs) {
          throw new K3slbError(`CustomResourceDefinition "${name}" is not established`, {
            code: "manifest-apply",
            hint: `See the conditions of "kubectl describe crd ${name}"`,
            retriable: true,
          });
        }
        await clock.sleep(ESTABLISHED_POLL_MS, signal);
      }
    }
  }

  #record(subject: ObjectReference, reason: ManifestEventReason, message: string): void {
    this.#options.events.record(subject, eventOf(reason, message));
  }
}

function kindOf({ type }: SeenObject): ObjectKind {
  return { apiVersion: apiVersionOf(type), kind: type.kind };
}
