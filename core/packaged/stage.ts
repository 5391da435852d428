// Decides at each start which packaged manifests the folder gets, says which and why, and hands them to the deployer, which
// writes them (0600, folders 0700), leaves skipped ones alone and removes disabled ones with their objects.
import type { ResourceType, Surroundings } from "../kube/contract.ts";
import { HELM_CHART_TYPE, manifestsFolder, PACKAGED_NAMESPACE } from "../shared/k3s_names.ts";
import { readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { isForbidden } from "../kube/errors.ts";
import { NODES, SERVICE_CIDRS, SERVICES } from "../kube/resources.ts";
import { errorHint, errorMessage, isAbort, isK3slbError, isNoSuchFile } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { chooseDns, type DnsChoice } from "./cluster_dns.ts";
import type { ClusterVersion } from "./cluster_version.ts";
import { corefile, type CorefileSettings } from "./coredns.ts";
import { corednsManifest } from "./coredns_manifest.ts";
import type { NodeHostsPlan } from "./node_hosts_controller.ts";
import { otherIngress } from "./other_ingress.ts";
import { INGRESS_CLASSES, listChartFiles, listIfKnown, readClusterVersion } from "./read_facts.ts";
import { chooseTraefik, type HelmChart } from "./traefik.ts";
import { traefikManifest } from "./traefik_manifest.ts";

/** Settings of the packaged parts. */
export interface PackagedSettings {
  readonly dataDir: string;
  readonly disable: readonly string[];
  /** Parts that are deployed beside others of their kind. */
  readonly enable: readonly string[];
  /** Which Services the load balancer serves. */
  readonly lbClass: string;
  readonly lbDefault: boolean;
  readonly systemDefaultRegistry: string;
  /** Addresses of the cluster DNS; empty: found from the cluster. */
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** See {@linkcode CorefileSettings}. */
  readonly dnsUpstreams: CorefileSettings["dnsUpstreams"];
  readonly dnsHosts: CorefileSettings["dnsHosts"];
}

/** What {@linkcode stagePackaged} takes. */
export interface StageOptions extends Surroundings {
  readonly options: PackagedSettings;
}

/** A manifest for the deployer. */
export interface PackagedManifest {
  /** Path below the manifests folder. */
  readonly path: string;
  readonly content: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** What is deployed. */
export interface StagedPackaged {
  readonly files: readonly PackagedManifest[];
  /** For the controller of NodeHosts; absent while CoreDNS is disabled. */
  readonly nodeHosts?: NodeHostsPlan;
}

const HELM_CHARTS: ResourceType<HelmChart> = HELM_CHART_TYPE;
const COREDNS_FILE = "coredns.yaml";
const TRAEFIK_FILE = "traefik.yaml";
const RETRY_MS = 2_000;
/** A cluster that is being made has no Service `kubernetes` yet. */
const RANGE_PATIENCE_MS = 30_000;
const RANGE_POLL_MS = 1_000;

/**
 * The packaged manifests for this cluster. Waits for an API server that is away.
 *
 * @throws {DOMException} "AbortError" if the signal is aborted first
 */
export async function stagePackaged(options: StageOptions): Promise<StagedPackaged> {
  const { clock, logger, signal } = options;
  let told = "";
  while (true) {
    signal.throwIfAborted();
    try {
      return await stageOnce(options);
    } catch (error) {
      if (isAbort(error) && signal.aborted) throw error;
      const message = errorMessage(error);
      const hint = errorHint(error);
      if (!isRetriable(error)) {
        logger.error(`Skipping packaged parts: ${message}`, { hint });
        return { files: [] };
      }
      if (message !== told) logger.warn(`Packaged parts wait: ${message}`, { hint });
      told = message;
      await clock.sleep(RETRY_MS, signal);
    }
  }
}

async function stageOnce(options: StageOptions): Promise<StagedPackaged> {
  const { client, signal, options: settings } = options;
  const isOn = (name: string): boolean => !settings.disable.includes(name);
  if (!isOn("coredns") && !isOn("traefik")) return { files: [] };
  const version = await readClusterVersion(client, signal);
  const dns = isOn("coredns") ? await alone(options, "CoreDNS", () => stageCoredns(options, version)) : [];
  const traefik = isOn("traefik") ? await alone(options, "Traefik", () => stageTraefik(options, version)) : [];
  return {
    files: [...dns, ...traefik],
    ...(isOn("coredns") ? { nodeHosts: { version, corefile: corefile(settings) } } : {}),
  };
}

/** What can't be helped by waiting, such as missing rights, must hold up neither the other part nor the manifests folder. */
async function alone(
  { logger, signal }: StageOptions,
  name: string,
  stage: () => Promise<readonly PackagedManifest[]>,
): Promise<readonly PackagedManifest[]> {
  try {
    return await stage();
  } catch (error) {
    if (signal.aborted || isRetriable(error)) throw error;
    logger.error(`Skipping ${name}: ${errorMessage(error)}`, { hint: errorHint(error) });
    return [];
  }
}

async function stageCoredns(
  { client, clock, logger, signal, options }: StageOptions,
  version: ClusterVersion,
): Promise<readonly PackagedManifest[]> {
  const choose = async (): Promise<DnsChoice> => {
    const { items: services } = await client.list(SERVICES, { signal });
    // Before Kubernetes 1.33 there are none.
    const cidrs = await listIfKnown(client, SERVICE_CIDRS, { signal });
    const serviceCidrs = cidrs.find(({ metadata }) => metadata?.name === "kubernetes")?.spec?.cidrs ?? [];
    return chooseDns({ given: options.clusterDns, services, serviceCidrs, version });
  };
  const deadlineMs = clock.monotonicMs() + RANGE_PATIENCE_MS;
  let choice = await choose();
  while (!choice.deploy && choice.reason === "UnknownRange" && clock.monotonicMs() < deadlineMs) {
    await clock.sleep(RANGE_POLL_MS, signal);
    choice = await choose();
  }
  say(logger, choice);
  if (!choice.deploy) {
    if (choice.reason === "Foreign") await withdraw(options.dataDir, COREDNS_FILE, logger);
    return [];
  }
  const variables = templateVariables(options, choice.addresses);
  return [{ path: COREDNS_FILE, content: corednsManifest(version, options), variables }];
}

async function stageTraefik(stage: StageOptions, version: ClusterVersion): Promise<readonly PackagedManifest[]> {
  const { client, logger, signal, options } = stage;
  const choice = chooseTraefik({
    version,
    installed: await listIfKnown(client, HELM_CHARTS, { namespace: PACKAGED_NAMESPACE, signal }),
    chartFiles: await listChartFiles(options.dataDir),
    otherIngress: options.enable.includes("traefik") ? undefined : await findOtherIngress(stage),
  });
  say(logger, choice);
  if (!choice.deploy) {
    if (choice.reason === "Foreign" || choice.reason === "OtherIngress") {
      await withdraw(options.dataDir, TRAEFIK_FILE, logger);
    }
    return [];
  }
  const content = traefikManifest({ plan: choice.plan, systemDefaultRegistry: options.systemDefaultRegistry });
  return [{ path: TRAEFIK_FILE, content, variables: templateVariables(options, []) }];
}

async function findOtherIngress({ client, signal, options }: StageOptions): Promise<string | undefined> {
  return otherIngress({
    ingressClasses: await listIfKnown(client, INGRESS_CLASSES, { signal }),
    services: (await client.list(SERVICES, { signal })).items,
    nodes: (await client.list(NODES, { signal })).items,
    ...(options.disable.includes("servicelb") ? {} : { claim: options }),
  });
}

function isRetriable(error: unknown): boolean {
  return isK3slbError(error) && error.retriable && !isForbidden(error);
}

function say(
  logger: Logger,
  choice: { readonly deploy: boolean; readonly message: string; readonly hint?: string | undefined },
): void {
  logger.info(choice.message, { hint: choice.hint });
}

/** The first words of every packaged manifest. */
const HEADER_REGEXP = /^# (?:CoreDNS|Traefik), as packaged\./;

/** Whether `text` is of a file that a start of this program wrote; all others are never deleted. */
export function isPackagedText(text: string): boolean {
  return HEADER_REGEXP.test(text);
}

/** Takes back a file of an earlier start that would overwrite what others made meanwhile; files of others stay. */
async function withdraw(dataDir: string, name: string, logger: Logger): Promise<void> {
  const path = join(manifestsFolder(dataDir), name);
  try {
    if (!isPackagedText(await readFile(path, "utf8"))) return;
    await unlink(path);
    logger.info("Removed a packaged manifest of an earlier start; its objects stay", { path });
  } catch (error) {
    if (isNoSuchFile(error)) return;
    throw error;
  }
}

/**
 * Every variable that packaged manifests may use, with its value; the deployer puts them in. Names as in K3s (`pkg/server/server.go`,
 * stageFiles). `%{KUBERNETES_API}%` is not one: a Helm job replaces it.
 *
 * @param dnsAddresses Addresses of the cluster DNS; empty if it is not deployed.
 */
export function templateVariables(
  settings: Pick<PackagedSettings, "clusterDomain" | "systemDefaultRegistry">,
  dnsAddresses: readonly string[],
): Readonly<Record<string, string>> {
  const registry = settings.systemDefaultRegistry.replace(/\/+$/, "");
  return {
    CLUSTER_DNS: dnsAddresses[0] ?? "",
    CLUSTER_DNS_LIST: `[${dnsAddresses.map((ip) => JSON.stringify(ip)).join(", ")}]`,
    CLUSTER_DNS_IPFAMILYPOLICY: dnsAddresses.length > 1 ? "RequireDualStack" : "SingleStack",
    CLUSTER_DOMAIN: settings.clusterDomain,
    SYSTEM_DEFAULT_REGISTRY: registry === "" ? "" : `${registry}/`,
  };
}
