// Which resource belongs to an apiVersion and kind, asked of the server once and remembered. An unknown kind is asked for
// again each time, because its CRD may have come; known ones until `forget`.
import type { CallOptions, KubeClient, ResourceType } from "../../kube/contract.ts";
import type { ObjectKind } from "../record/addon.ts";

/** Finds resources of kinds. */
export interface KindCatalog {
  /** The resource; `undefined` if the server has no such kind. */
  find(kind: ObjectKind, options?: CallOptions): Promise<ResourceType | undefined>;
  /** Drops what is remembered, as after a CRD has changed. */
  forget(): void;
}

/** A catalog of the kinds of `client`'s server. */
export function createKindCatalog(client: KubeClient): KindCatalog {
  const known = new Map<string, Promise<readonly ResourceType[]>>();
  const ask = (apiVersion: string, options?: CallOptions): Promise<readonly ResourceType[]> => {
    const answer = client.discover(apiVersion, options);
    known.set(apiVersion, answer);
    answer.catch(() => {
      // The caller gets the failure; the next one asks again.
      if (known.get(apiVersion) === answer) known.delete(apiVersion);
    });
    return answer;
  };
  return {
    find: async ({ apiVersion, kind }, options) => {
      const match = (types: readonly ResourceType[]): ResourceType | undefined =>
        types.find((type) => type.kind === kind);
      const remembered = known.get(apiVersion);
      if (remembered !== undefined) {
        const found = match(await remembered);
        if (found !== undefined) return found;
      }
      return match(await ask(apiVersion, options));
    },
    forget: () => known.clear(),
  };
}
