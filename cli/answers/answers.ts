// What `explain`, `status` and `ports` share: their flags, and the cluster at one moment.
import { present } from "../../core/shared/values.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { isForbidden, isNotFound } from "../../core/kube/errors.ts";
import { SERVICES } from "../../core/kube/resources.ts";
import type { Node, Service } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { Answers } from "../../core/service_lb/answers/explain_service.ts";
import { readObstacles, readSnapshot } from "../../core/service_lb/answers/read_snapshot.ts";
import type { ServiceLbOptions } from "../../core/service_lb/service_lb_options.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import type { CommandContext } from "../command.ts";
import type { Settings } from "../settings/flag.ts";
import {
  CLUSTER_FLAGS,
  COMMAND_LOG_FLAGS,
  COMMON_FLAGS,
  CONFIG_FLAG,
  DATA_DIR_FLAG,
  SERVER_FLAGS,
  WIDE_OUTPUT_FLAG,
} from "../settings/flags.ts";
import { nearestName } from "../../core/shared/nearest_name.ts";
import { serverOptions } from "../programs/server_command.ts";

/** Flags of commands that ask about Services. The server's own settings come from environment and config file. */
export const ANSWER_FLAGS = [...CLUSTER_FLAGS, WIDE_OUTPUT_FLAG, CONFIG_FLAG, ...COMMAND_LOG_FLAGS] as const;
type AnswerSettings = Settings<typeof ANSWER_FLAGS>;

/**
 * Runs `ask` with a signal that ends it when the cluster does not answer.
 * @throws {K3slbError} code "timeout"
 */
export async function withinPatience<T>(
  context: CommandContext,
  ask: (signal: AbortSignal) => Promise<T>,
  limitMs = ANSWER_TIMEOUT_MS,
): Promise<T> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    return await ask(AbortSignal.any([context.signal, limit]));
  } catch (error) {
    if (limit.aborted && !context.signal.aborted) {
      throw new K3slbError(`The API server did not answer within ${limitMs / 1000} s`, {
        code: "timeout",
        hint: "See whether it is reached: kubectl get --raw /readyz",
        cause: error,
      });
    }
    throw error;
  }
}

/** Answers about all Services, or about `service` beside those that share something with it. */
export async function readAnswers(
  client: KubeClient,
  { settings, context, signal, service }: {
    readonly settings: Pick<AnswerSettings, "servicelb-namespace">;
    readonly context: CommandContext;
    readonly signal: AbortSignal;
    readonly service?: Service;
  },
): Promise<AnswerSource> {
  const options = lbOptions(settings, context);
  const asked = { client, namespace: options.servicelbNamespace, signal };
  const snapshot = await readSnapshot({ ...asked, nowMs: context.host.now(), ...present({ service }) });
  const { services, nodes } = snapshot;
  const answers = new Answers(snapshot, options);
  await readObstacles(answers, service === undefined ? services : [service], { ...asked, clock: SYSTEM_CLOCK });
  return { answers, services, nodes, dataplane: options.dataplane };
}

/** What was read, and what follows. */
export interface AnswerSource {
  readonly answers: Answers;
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  readonly dataplane: ServiceLbOptions["dataplane"];
}

/**
 * One Service.
 * @throws {K3slbError} code "no-service" with the nearest name
 */
export async function findService(
  client: KubeClient,
  key: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<Service> {
  try {
    return await client.get(SERVICES, key, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new K3slbError(`There is no Service "${key.name}" in namespace "${key.namespace}"`, {
      code: "no-service",
      hint: await hintFor(client, key, signal),
      cause: error,
    });
  }
}

async function hintFor(
  client: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<string> {
  const names: string[] = [];
  const elsewhere: string[] = [];
  try {
    await client.list(SERVICES, {
      signal,
      each: ({ metadata }) => {
        if (metadata?.namespace === namespace) names.push(metadata.name ?? "");
        else if (metadata?.name === name) elsewhere.push(`${metadata.namespace}/${name}`);
      },
    });
  } catch (error) {
    if (isForbidden(error)) return "kubectl get services --all-namespaces lists them";
    throw error;
  }
  const [other] = elsewhere;
  if (other !== undefined) return `There is one in another namespace: ${other}`;
  const near = nearestName(name, names);
  return near === undefined
    ? "kubectl get services --all-namespaces lists them"
    : `Did you mean "${namespace}/${near}"?`;
}

/** Characters in a line of the terminal, or as `COLUMNS` says. */
export function lineWidth({ host }: CommandContext): number {
  const width = Number(host.env.COLUMNS ?? "") || host.terminal()?.columns || DEFAULT_WIDTH;
  return Math.max(MIN_WIDTH, Math.min(width, MAX_WIDTH));
}

/** The server's settings, as environment and config file on this host say. */
function lbOptions(
  settings: Pick<AnswerSettings, "servicelb-namespace">,
  { resolveOther }: CommandContext,
): ServiceLbOptions {
  const options = serverOptions(resolveOther([...COMMON_FLAGS, DATA_DIR_FLAG, ...SERVER_FLAGS]));
  return { ...options, servicelbNamespace: settings["servicelb-namespace"], serviceRanges: [] };
}

/** Somebody waits at a terminal. */
const ANSWER_TIMEOUT_MS = 10_000;
const DEFAULT_WIDTH = 80;
const MIN_WIDTH = 60;
const MAX_WIDTH = 200;
