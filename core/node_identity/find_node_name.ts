// Asks the API server and the host for what `resolve_node_name.ts` decides on, and no more than it needs: most nodes are known
// after two small requests. A node's identity may not list all Nodes; then the chain does without.
import type { Surroundings } from "../kube/contract.ts";
import { isConnectionFailure, isForbidden, isNotFound } from "../kube/errors.ts";
import { orUnreadable } from "../kube/one_object.ts";
import { NODES } from "../kube/resources.ts";
import { pick } from "../kube/trim.ts";
import type { Node } from "../kube/types.ts";
import { errorMessage, isAbort, isK3slbError } from "../shared/errors.ts";
import type { HostFacts } from "./host_facts.ts";
import { parseHostName } from "./node_name.ts";
import { givenNodeName, type NodeIdentity, type NodeSummary, resolveNodeName } from "./resolve_node_name.ts";

/** What {@linkcode findNodeName} takes. */
export interface FindNodeNameOptions extends Surroundings {
  readonly role: "agent" | "server";
  /** Value of `--node-name`. */
  readonly flag?: string;
  /** Value of `K3S_NODE_NAME`. */
  readonly env?: string;
  readonly host: HostFacts;
}

/**
 * This node's name. Waits while the API server can't be reached: a name that was guessed meanwhile could be another node's.
 *
 * @throws {K3slbError} code "node-name-unknown", as {@linkcode resolveNodeName}
 * @throws {DOMException} "AbortError" if the signal is aborted
 */
export async function findNodeName(options: FindNodeNameOptions): Promise<NodeIdentity> {
  const { role, host, logger } = options;
  const given = pick(options, ["flag", "env"]);
  const needsReview = givenNodeName(given) === undefined;
  const reviewed = needsReview ? await patiently(options, () => readCredentialName(options)) : undefined;
  const names = { ...given, ...(reviewed === undefined ? {} : { selfSubjectReviewName: reviewed }) };
  const nodes = role === "agent"
    ? await patiently(options, () => readNodes(givenNodeName(names) ?? parseHostName(host.hostName)?.name, options))
    : undefined;
  const identity = resolveNodeName({ role, ...names, ...host, ...(nodes ? { nodes } : {}) });
  if (identity.correctedFrom !== undefined) {
    logger.info("Node names are lower case", { given: identity.correctedFrom, used: identity.name });
  }
  logger.info("This node is known", { node: identity.name, source: identity.source });
  return identity;
}

/** NAME if the server knows the client as `system:node:NAME`. */
async function readCredentialName({ client, signal }: FindNodeNameOptions): Promise<string | undefined> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  // Servers before 1.28 don't have it, and some close it: the host can still say.
  const review = await orUnreadable(client.raw<SelfSubjectReview>("POST", REVIEW_PATH, { signal, body }));
  return /^system:node:(.+)$/.exec(review?.status?.userInfo?.username ?? "")?.[1];
}

interface SelfSubjectReview {
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}

const REVIEW_PATH = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/** `undefined` if `candidate` has a Node, or nobody may say; else all Nodes, as far as they may be read. */
async function readNodes(
  candidate: string | undefined,
  { client, signal }: FindNodeNameOptions,
): Promise<readonly NodeSummary[] | undefined> {
  let isMissing = false;
  if (candidate !== undefined) {
    try {
      await client.get(NODES, { name: candidate }, { signal });
      return undefined;
    } catch (error) {
      if (!isNotFound(error) && !isForbidden(error)) throw error;
      isMissing = isNotFound(error);
    }
  }
  try {
    return (await client.list(NODES, { signal, resourceVersion: "0" })).items.map(summary);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    return isMissing ? [] : undefined;
  }
}

function summary(node: Node): NodeSummary {
  return {
    name: node.metadata?.name ?? "",
    machineId: node.status?.nodeInfo?.machineID ?? "",
    systemUuid: node.status?.nodeInfo?.systemUUID ?? "",
    addresses: (node.status?.addresses ?? []).map((one) => one.address),
  };
}

async function patiently<T>({ clock, logger, signal }: FindNodeNameOptions, ask: () => Promise<T>): Promise<T> {
  for (let failures = 0;; failures++) {
    try {
      return await ask();
    } catch (error) {
      const mayPass = isConnectionFailure(error) || (isK3slbError(error) && error.retriable);
      if (isAbort(error) || signal.aborted || !mayPass) throw error;
      if (failures === 0) {
        logger.warn("Waiting for the API server to say which node this is", { error: errorMessage(error) });
      }
      await clock.sleep(Math.min(MAX_PATIENCE_MS, FIRST_PATIENCE_MS * 2 ** failures), signal);
    }
  }
}

const FIRST_PATIENCE_MS = 500;
const MAX_PATIENCE_MS = 10_000;
