// Keeps the objects of a chart's set as they are wanted: written when they are missing or differ, and at no other time.
import { present } from "../../shared/values.ts";
import type { KubeClient, ResourceType } from "../../kube/contract.ts";
import { isAlreadyExists } from "../../kube/errors.ts";
import { keyOf } from "../../kube/one_object.ts";
import type { Reflector } from "../../kube/reflector.ts";
import { CLUSTER_ROLE_BINDINGS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS } from "../../kube/resources.ts";
import { objectKey } from "../../kube/request_path.ts";
import type { ClusterRoleBinding, ConfigMap, KubeObject, Secret, ServiceAccount } from "../../kube/types.ts";
import type { ChartView } from "../chart_view.ts";
import type { SetObject } from "./desired_objects.ts";

/** Writes sets. */
export class SetWriter {
  readonly #client: KubeClient;
  readonly #view: ChartView;

  constructor(client: KubeClient, view: ChartView) {
    this.#client = client;
    this.#view = view;
  }

  /** Makes `wanted` so. @throws {K3slbError} of the write that failed */
  async ensure(wanted: SetObject, signal: AbortSignal): Promise<void> {
    switch (wanted.kind) {
      case "Secret":
        return await this.#ensure(SECRETS, this.#view.valuesSecrets, wanted as Secret, signal);
      case "ConfigMap":
        return await this.#ensure(CONFIG_MAPS, this.#view.configMaps, wanted as ConfigMap, signal);
      case "ServiceAccount":
        return await this.#ensure(SERVICE_ACCOUNTS, this.#view.serviceAccounts, wanted as ServiceAccount, signal);
      default:
        return await this.#ensure(CLUSTER_ROLE_BINDINGS, this.#view.bindings, wanted as ClusterRoleBinding, signal);
    }
  }

  async #ensure<T extends KubeObject>(
    type: ResourceType<T>,
    cache: Reflector<T>,
    wanted: T,
    signal: AbortSignal,
  ): Promise<void> {
    const seen = cache.objects.get(objectKey(wanted));
    if (seen !== undefined && holds(seen, wanted)) return;
    if (seen === undefined) {
      try {
        return cache.merge([await this.#client.create(type, wanted, { signal })]);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
    // Read anew: it may be there without our labels, or newer than the copy.
    const key = keyOf(wanted);
    const live = await this.#client.get(type, key, { signal });
    if (holds(live, wanted)) return cache.merge([live]);
    if (isFixedPartDifferent(live, wanted)) {
      await this.#client.delete(type, key, { signal });
      return cache.merge([await this.#client.create(type, wanted, { signal })]);
    }
    cache.merge([await this.#client.update(type, replaced(live, wanted), { signal })]);
  }
}

/** Content as wanted and nothing beside it; labels, annotations and owners of others stay. */
function replaced<T extends KubeObject>(live: T, wanted: T): T {
  const { metadata } = live;
  return {
    ...live,
    ...wanted,
    metadata: {
      ...metadata,
      labels: { ...metadata?.labels, ...wanted.metadata?.labels },
      annotations: { ...metadata?.annotations, ...wanted.metadata?.annotations },
      ...present({ ownerReferences: wanted.metadata?.ownerReferences }),
    },
  };
}

function holds(live: KubeObject, wanted: KubeObject): boolean {
  const { data: liveData, ...liveRest } = live as KubeObject & { readonly data?: object };
  const { data: wantedData, ...wantedRest } = wanted as KubeObject & { readonly data?: object };
  return contains(liveRest, wantedRest) && contains(wantedData ?? {}, liveData ?? {}) &&
    contains(liveData ?? {}, wantedData ?? {});
}

/** Whether every field of `part` is in `whole`; lists must be equal in length and order. */
function contains(whole: unknown, part: unknown): boolean {
  if (Array.isArray(part)) {
    return Array.isArray(whole) && whole.length === part.length && part.every((item, i) => contains(whole[i], item));
  }
  if (typeof part !== "object" || part === null) return whole === part;
  if (typeof whole !== "object" || whole === null) return false;
  const fields = whole as Readonly<Record<string, unknown>>;
  return Object.entries(part).every(([key, value]) => value === undefined || contains(fields[key], value));
}

/** What the API server lets nobody change. */
function isFixedPartDifferent(live: KubeObject, wanted: KubeObject): boolean {
  return ["roleRef", "type"].some((field) => {
    const [a, b] = [live, wanted].map((object) => (object as Readonly<Record<string, unknown>>)[field]);
    return b !== undefined && !contains(a, b);
  });
}
