// The API server in memory as tests of the deployer look at it: objects by kind and name, what was asked, and what is told.
import type { KubeClient } from "../../../../core/kube/contract.ts";
import type { EventContent, ObjectReference } from "../../../../core/kube/events.ts";
import type { UnknownObject } from "../../../../core/kube/types.ts";
import type { ManifestEvents } from "../../../../core/manifests/record/manifest_events.ts";
import { createInProcess, type InProcess, type InProcessRequest } from "../../../support/memory_api/in_process.ts";
import { type ApiObject, objectKey } from "../../../support/memory_api/store.ts";

/** An empty cluster; end it with `stop`. */
export class ManifestCluster {
  readonly client: KubeClient;
  readonly requests: InProcessRequest[] = [];
  /** May throw, or abort a signal, before the request is done. */
  onRequest: (request: InProcessRequest) => void | Promise<void> = () => {};
  /** Ends what runs beside the API. */
  readonly stop: () => void;
  readonly #store: InProcess["store"];
  readonly #first: ReadonlySet<string | undefined>;

  constructor() {
    const { client, store, stop } = createInProcess({
      controllers: ["customResourceDefinitions"],
      // It stands still, so that equal states are equal texts.
      now: () => new Date(0),
      onRequest: async (request) => {
        this.requests.push(request);
        await this.onRequest(request);
      },
    });
    this.client = client;
    this.stop = stop;
    this.#store = store;
    this.#first = new Set(this.#all().map(({ metadata }) => metadata?.uid));
  }

  /** What others have put there, beside what each cluster has. */
  objects(): readonly UnknownObject[] {
    return this.#all().filter(({ metadata }) => !this.#first.has(metadata?.uid));
  }

  /** `Kind namespace/name` of all objects, sorted. */
  names(): readonly string[] {
    return this.objects().map(({ kind, metadata }) =>
      `${kind} ${metadata?.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata?.name}`
    ).sort();
  }

  get(kind: string, name: string): UnknownObject | undefined {
    return this.objects().find((object) => object.kind === kind && object.metadata?.name === name);
  }

  /** Stores what `change` makes of an object, as somebody else's write would; without a result the object goes. */
  edit(kind: string, name: string, change: (object: UnknownObject) => UnknownObject | undefined): void {
    for (const resource of this.#store.resources()) {
      for (const object of this.#store.list(resource)) {
        if (object.kind !== kind || object.metadata.name !== name) continue;
        const next = change(structuredClone(object) as unknown as UnknownObject);
        if (next === undefined) this.#store.remove(resource, objectKey(object));
        else this.#store.put(resource, next as unknown as ApiObject);
      }
    }
  }

  /** Everything that counts: equal texts are equal end states. */
  snapshot(): string {
    const plain = this.objects().map((object) => {
      const { uid: _, resourceVersion: __, generation: ___, ...metadata } = object.metadata ?? {};
      return JSON.stringify({ ...object, metadata });
    });
    return plain.sort().join("\n");
  }

  #all(): readonly UnknownObject[] {
    return this.#store.resources().flatMap((resource) =>
      structuredClone(this.#store.list(resource)) as UnknownObject[]
    );
  }
}

/** Events in memory. */
export class FakeEvents implements ManifestEvents {
  readonly list: {
    readonly subject: string;
    readonly type: string;
    readonly reason: string;
    readonly message: string;
  }[] = [];

  get reasons(): readonly string[] {
    return this.list.map(({ reason }) => reason);
  }

  record(subject: ObjectReference, event: EventContent): void {
    this.list.push({ subject: `${subject.kind} ${subject.namespace}/${subject.name}`, ...event });
  }
}

/** A CRD of the kind Thing. */
export const THING_CRD = JSON.stringify({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "things.example.com" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { kind: "Thing", plural: "things" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
  },
});
