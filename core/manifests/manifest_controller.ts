// Keeps the cluster at what the manifests folder says. Thin: which files count is decided in select_files.ts, what happens
// with one in manifest_deployer.ts. The queue's keys are AddOn names, so files that share a name meet in one place.
import { nextTurn, pause } from "../runtime/clock.ts";
import { join } from "node:path";
import { createWorkQueue, type WorkQueue } from "../runtime/work_queue.ts";
import { errorMessage, isK3slbError } from "../shared/errors.ts";
import { manifestsFolder } from "../shared/k3s_names.ts";
import { type AddOn, addOnNameOf, checksumOf, SERVER_ANNOTATION } from "./record/addon.ts";
import { ChangeSignal } from "./folder/change_signal.ts";
import { objectsOfOtherFiles } from "./claimed_objects.ts";
import { FolderView } from "./folder/folder_view.ts";
import { refuseBesideK3s } from "./folder/k3s_process.ts";
import { createKindCatalog } from "./objects/kind_catalog.ts";
import { ensureManifestsFolder, FolderWatches, pathBelow, readManifest, scanFolder } from "./folder/manifest_dir.ts";
import { ManifestDeployer } from "./deploy/manifest_deployer.ts";
import type { ManifestsOptions, RunningManifests } from "./manifests_options.ts";
import { removePackagedFiles, writePackagedFiles } from "./folder/packaged_files.ts";
import { StandingProblems } from "./folder/standing_problems.ts";
import { type FileChoice, isDisabled, isSameChoice, misnamedFiles, selectFiles } from "./folder/select_files.ts";

/** Starts the deployer. Only the leader may run it. */
export function startManifests(options: ManifestsOptions): RunningManifests {
  const controller = new ManifestController(options);
  return { done: controller.run(), problem: () => controller.problem };
}

/** A file younger than this may be half-written. */
const SETTLE_MS = 100;
/** A file younger than this is read again before anyone is told that it is broken. */
const FORGIVING_MS = 2_000;
const FORGIVING_RETRY_MS = 400;
const RESCAN_INTERVAL_MS = 15_000;
const START_RETRY_MS = 5_000;
/** Files under way at once; most of the time is waiting for the API server. */
const WORKERS = 8;

/** How a file was when it was last dealt with. */
interface Handled {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  readonly checksum: string;
  /** The file system that its folder is on. */
  readonly device: string | undefined;
  /** `Broken`: can't be parsed. `Unfinished`: the server may have any part of it, so only applying something helps. */
  readonly state: "Applied" | "Broken" | "Unfinished";
}

class ManifestController {
  readonly #options: ManifestsOptions;
  readonly #folder: string;
  readonly #view: FolderView;
  readonly #deployer: ManifestDeployer;
  readonly #queue: WorkQueue;
  readonly #signal: AbortSignal;
  #choices: ReadonlyMap<string, FileChoice> = new Map();
  /** AddOns that this folder is responsible for, as listed at the start; read again before anything is done with one. */
  readonly #recorded = new Map<string, AddOn>();
  readonly #handled = new Map<string, Handled>();
  readonly #forced = new Set<string>();
  /** AddOns whose objects are to be compared with the file although the file is unchanged. */
  readonly #repairDue = new Set<string>();
  /** AddOns that wait for another file to take over what left theirs. */
  readonly #moving = new Set<string>();
  /** What keeps the whole folder from being deployed. */
  readonly #problems: StandingProblems;
  /** What is wrong with single files; nothing else waits for them to be fixed. */
  readonly #notices: StandingProblems;
  readonly #changes: ChangeSignal;

  constructor(options: ManifestsOptions) {
    this.#options = options;
    this.#signal = options.signal;
    const tell = (message: string): void => options.logger.warn(message);
    this.#problems = new StandingProblems(tell);
    this.#notices = new StandingProblems(tell);
    this.#folder = manifestsFolder(options.options.dataDir);
    this.#view = new FolderView(this.#folder);
    this.#changes = new ChangeSignal(options);
    const { client, clock, logger, events } = options;
    this.#deployer = new ManifestDeployer({
      client,
      clock,
      logger,
      events,
      kinds: createKindCatalog(client),
      server: options.options.server,
      problemsOf: options.problemsOf,
      objectsOfOthers: (addOn) =>
        objectsOfOtherFiles(addOn, {
          folder: this.#folder,
          disable: options.options.disable,
          isDeployed: (name, path) => (this.#handled.get(name)?.path ?? path) === path,
        }),
    });
    const observer = options.observeQueue?.("manifests");
    this.#queue = createWorkQueue({ clock, maxBackoffMs: 300_000, observer });
  }

  /** What keeps the folder from being deployed; what is wrong with single files is said on their AddOns and in the log. */
  get problem(): string | undefined {
    return this.#problems.summary;
  }

  async run(): Promise<void> {
    const { processRoot = "/proc", dataDir } = this.#options.options;
    if (processRoot !== "") await refuseBesideK3s({ dataDir, processRoot });
    await ensureManifestsFolder(this.#folder);
    const watches = new FolderWatches(() => this.#changes.wake());
    try {
      // Before anything is written to it: a folder without a file proves nothing.
      this.#view.see(await scanFolder(this.#folder));
      await writePackagedFiles(this.#options.packagedFiles, {
        folder: this.#folder,
        disable: this.#options.options.disable,
      });
      if (!await this.#untilReady()) return;
      if (this.#options.options.pruneDeletedManifests && this.#view.wasEmpty && this.#recorded.size > 0) {
        this.#options.logger.warn(
          `Folder "${this.#folder}" had no file at this start: what files of earlier starts brought is kept`,
          { hint: "Delete it by hand if the files are gone for good" },
        );
      }
      await this.#scan(watches);
      this.#options.onStarted?.();
      const working = this.#queue.run({
        signal: this.#signal,
        workers: WORKERS,
        reconcile: (addOn) => this.#work(addOn),
        onFailure: (addOn, error) => {
          // What moves from one file to another is no fault, and in place a moment later.
          const isMoving = isK3slbError(error, "manifest-moving");
          if (isMoving) this.#moving.add(addOn);
          this.#options.logger[isMoving ? "info" : "warn"](errorMessage(error), { addOn });
        },
      });
      await Promise.all([working, this.#scanLoop(watches)]);
    } finally {
      watches.close();
    }
  }

  /** Waits for the server and its AddOn kind; false if the signal came first. */
  async #untilReady(): Promise<boolean> {
    const { clock } = this.#options;
    while (!this.#signal.aborted) {
      try {
        await this.#deployer.ensureAddOnKind(this.#signal);
        for (const addOn of await this.#deployer.listAddOns(this.#signal)) {
          const path = pathBelow(this.#folder, addOn.spec?.source);
          const { name } = addOn.metadata ?? {};
          if (path === undefined || name === undefined) continue;
          this.#recorded.set(name, addOn);
          this.#queue.add(name);
        }
        this.#problems.set("server", []);
        return true;
      } catch (error) {
        if (this.#signal.aborted) return false;
        this.#problems.set("server", [`Manifests wait for the server: ${errorMessage(error)}`]);
        await pause(clock, START_RETRY_MS, this.#signal);
      }
    }
    return false;
  }

  async #scanLoop(watches: FolderWatches): Promise<void> {
    const { rescanIntervalMs = RESCAN_INTERVAL_MS, repairIntervalMs = 0 } = this.#options.options;
    const { clock } = this.#options;
    let repairMs = nextTurn(clock.monotonicMs(), repairIntervalMs);
    while (!this.#signal.aborted) {
      const nowMs = clock.monotonicMs();
      const changed = this.#changes.next(nextTurn(nowMs, rescanIntervalMs) - nowMs);
      await this.#scan(watches);
      if (repairIntervalMs > 0 && nowMs >= repairMs) {
        repairMs = nextTurn(nowMs, repairIntervalMs);
        this.#repairAll();
      }
      await changed;
    }
  }

  async #scan(watches: FolderWatches): Promise<void> {
    const scan = await scanFolder(this.#folder);
    this.#problems.set("folder", scan.problems);
    this.#view.see(scan);
    this.#take(selectFiles(scan.files, this.#options.options.disable));
    // What happened in a folder before its watch stood is found by one more scan.
    if (watches.set(scan.folders)) this.#changes.wake();
    // Changes are found all the same, by scanning from time to time.
    this.#notices.set("watches", watches.problems);
  }

  /** Compares with the scan before and queues the AddOns whose files differ. */
  #take(choices: readonly FileChoice[]): void {
    const before = this.#choices;
    this.#choices = new Map(choices.map((choice) => [choice.file.path, choice]));
    const changed = choices.filter((choice) => !isSameChoice(before.get(choice.file.path), choice));
    const gone = [...before.values()].filter(({ file }) => !this.#choices.has(file.path));
    for (const { file, leftOut } of [...changed, ...gone]) {
      if (leftOut === "Hidden" || leftOut === "NotAManifest") continue;
      const addOn = addOnNameOf(file.path);
      if (addOn !== undefined) this.#queue.add(addOn);
    }
    this.#notices.set("names", misnamedFiles(choices));
  }

  #repairAll(): void {
    for (const addOn of this.#handled.keys()) {
      this.#repairDue.add(addOn);
      this.#queue.add(addOn);
    }
  }

  async #work(addOn: string): Promise<number | void> {
    const choices = [...this.#choices.values()].filter(({ file }) => addOnNameOf(file.path) === addOn);
    const deployed = choices.filter(({ leftOut }) => leftOut === undefined);
    const [only] = deployed;
    if (deployed.length < 2) this.#notices.set(`conflict ${addOn}`, []);
    if (choices.every(({ leftOut }) => leftOut !== "Disabled")) this.#notices.set(`disabled ${addOn}`, []);
    if (only === undefined) return await this.#retire(addOn, choices);
    const owner = deployed.length === 1 ? only : await this.#owner(addOn, deployed);
    return await this.#deploy(addOn, owner);
  }

  /** Of several files with one name: the one that the AddOn names, else the first. The others are told. */
  async #owner(addOn: string, deployed: readonly FileChoice[]): Promise<FileChoice> {
    const handled = this.#handled.get(addOn)?.path;
    const seen = await this.#deployer.readAddOn(addOn, this.#signal);
    const source = handled ?? pathBelow(this.#folder, seen?.spec?.source);
    const owner = deployed.find(({ file }) => file.path === source) ?? deployed[0];
    if (owner === undefined) throw new RangeError("No file to choose from");
    const others = deployed.filter(({ file }) => file !== owner.file);
    const messages = others.map(({ file }) =>
      `File "${file.path}" is not deployed: AddOn "${addOn}" belongs to "${owner.file.path}"; give one of them another name`
    );
    const say = (message: string): void => this.#deployer.say(addOn, seen, "ConflictingManifest", message);
    this.#notices.set(`conflict ${addOn}`, messages, say);
    return owner;
  }

  async #deploy(addOn: string, { file }: FileChoice): Promise<number | void> {
    const { clock, logger } = this.#options;
    const handled = this.#handled.get(addOn);
    const isKnown = handled?.path === file.path && handled.state !== "Unfinished";
    if (
      isKnown && handled.sizeBytes === file.sizeBytes && handled.modifiedMs === file.modifiedMs &&
      (file.modifiedMs !== 0 || this.#repairDue.has(addOn))
    ) return await this.#repair(addOn, handled);
    const ageMs = clock.now() - file.modifiedMs;
    if (ageMs >= 0 && ageMs < SETTLE_MS) return SETTLE_MS - ageMs + 1;
    const source = join(this.#folder, file.path);
    const content = await this.#read(addOn, source);
    // Gone, or being written: the next scan of the folder decides.
    if (content === undefined || content.modifiedMs !== file.modifiedMs || content.sizeBytes !== file.sizeBytes) {
      this.#changes.wake();
      return SETTLE_MS;
    }
    const checksum = checksumOf(content.bytes);
    const { sizeBytes, modifiedMs } = content;
    const seen = { path: file.path, sizeBytes, modifiedMs, checksum, device: this.#view.deviceOf(file.path) };
    if (isKnown && handled.checksum === checksum) {
      this.#handled.set(addOn, { ...seen, state: handled.state });
      return;
    }
    this.#handled.set(addOn, { ...seen, state: "Unfinished" });
    try {
      const unblocksOthers = await this.#deployer.deploy({
        addOn,
        source,
        bytes: content.bytes,
        force: !this.#forced.has(addOn),
        isForgiving: ageMs >= 0 && ageMs < FORGIVING_MS,
        signal: this.#signal,
      });
      this.#forced.add(addOn);
      this.#handled.set(addOn, { ...seen, state: "Applied" });
      if (unblocksOthers) this.#retryFailed(addOn);
      for (const other of this.#moving) this.#queue.add(other);
      this.#moving.clear();
    } catch (error) {
      if (!isK3slbError(error, "yaml-invalid") && !isK3slbError(error, "manifest-invalid")) throw error;
      if (ageMs >= 0 && ageMs < FORGIVING_MS) return FORGIVING_RETRY_MS;
      // Only another content can help, so nothing is tried again until the file changes.
      this.#handled.set(addOn, { ...seen, state: "Broken" });
      logger.error(errorMessage(error), { addOn });
    }
  }

  async #repair(addOn: string, handled: Handled): Promise<void> {
    if (!this.#repairDue.delete(addOn) || handled.state !== "Applied") return;
    const source = join(this.#folder, handled.path);
    const content = await this.#read(addOn, source);
    if (content === undefined || checksumOf(content.bytes) !== handled.checksum) return this.#changes.wake();
    await this.#deployer.repair({ addOn, source, bytes: content.bytes, signal: this.#signal });
  }

  async #read(addOn: string, source: string): Promise<Awaited<ReturnType<typeof readManifest>>> {
    try {
      return await readManifest(source);
    } catch (error) {
      this.#deployer.say(addOn, this.#recorded.get(addOn), "ReadManifestFailed", errorMessage(error));
      throw error;
    }
  }

  /** Others may have waited for what is there now. */
  #retryFailed(except: string): void {
    for (const { file } of this.#choices.values()) {
      const addOn = addOnNameOf(file.path);
      if (addOn !== undefined && addOn !== except && this.#queue.failures(addOn) > 0) this.#queue.add(addOn);
    }
  }

  /** No file is deployed under this name: it is skipped, disabled, or gone. */
  async #retire(addOn: string, choices: readonly FileChoice[]): Promise<number | void> {
    if (choices.some(({ leftOut }) => leftOut === "Skipped")) return;
    const disabled = choices.filter(({ leftOut }) => leftOut === "Disabled");
    const handled = this.#handled.get(addOn);
    const seen = this.#recorded.get(addOn);
    const source = handled?.path ?? pathBelow(this.#folder, seen?.spec?.source);
    const { disable, pruneDeletedManifests, server, rescanIntervalMs = RESCAN_INTERVAL_MS } = this.#options.options;
    if (disabled.length > 0 || (source !== undefined && isDisabled(source, disable))) {
      await this.#deployer.remove(addOn, {
        signal: this.#signal,
        reason: "it is disabled",
        beforeRecord: async () => {
          const own = disabled.flatMap(({ file }) => file.viaSymlink ? [] : [join(this.#folder, file.path)]);
          const kept = await removePackagedFiles(own, this.#options.isPackagedText);
          this.#notices.set(
            `disabled ${addOn}`,
            kept.map((path) => `Disabled file "${path}" stays: it is not packaged`),
          );
        },
      });
    } else if (pruneDeletedManifests && source !== undefined) {
      if (!this.#view.isDeleted(source, handled?.device)) return rescanIntervalMs;
      // Only what this server deployed: another server's folder may have the file still.
      const isOwn = handled !== undefined || seen?.metadata?.annotations?.[SERVER_ANNOTATION] === server;
      if (isOwn && (handled !== undefined || !this.#view.wasEmpty)) {
        await this.#deployer.remove(addOn, { signal: this.#signal, reason: "its file is gone" });
      }
    }
    for (const known of [this.#recorded, this.#handled, this.#forced, this.#repairDue, this.#moving]) {
      known.delete(addOn);
    }
  }
}
