// EndpointSlices of Services with a selector, one per address family
// (k8s.io/kubernetes `pkg/controller/endpointslice`; more than 100 endpoints are not split).
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, equal, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, startLoop } from "./loop.ts";
import { isFinished, isReady } from "./pod_fit.ts";

const SLICES = "endpointslices.discovery.k8s.io";
const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
const MANAGER = "endpointslice-controller.k8s.io";

function selects(service: ApiObject, pod: ApiObject): boolean {
  const selector = Object.entries(asObject(at(service, "spec", "selector")));
  const labels = asObject(pod.metadata["labels"]);
  return selector.length > 0 && service.metadata["namespace"] === pod.metadata["namespace"] &&
    selector.every(([key, value]) => labels[key] === value);
}

function addressOf(pod: ApiObject, family: string): string | undefined {
  const all = [at(pod, "status", "podIP"), ...asList(at(pod, "status", "podIPs")).map((it) => at(it, "ip"))];
  return all.map((ip) => asText(ip)).find((ip) => ip !== "" && ip.includes(":") === (family === "IPv6"));
}

function portNumber(pod: ApiObject, port: JsonObject): number | undefined {
  const target = port["targetPort"];
  if (typeof target === "number") return target;
  for (const container of asList(at(pod, "spec", "containers"))) {
    for (const it of asList(at(container, "ports"))) {
      if (at(it, "name") === target && (at(it, "protocol") ?? "TCP") === port["protocol"]) {
        return Number(at(it, "containerPort"));
      }
    }
  }
  return undefined;
}

function endpointOf(service: ApiObject, pod: ApiObject, address: string): JsonObject {
  const isTerminating = pod.metadata["deletionTimestamp"] !== undefined;
  const isServing = isReady(pod);
  const isAlwaysReady = at(service, "spec", "publishNotReadyAddresses") === true;
  const endpoint: JsonObject = {
    addresses: [address],
    conditions: {
      ready: (isServing && !isTerminating) || isAlwaysReady,
      serving: isServing,
      terminating: isTerminating,
    },
    targetRef: {
      kind: "Pod",
      namespace: metaText(pod, "namespace"),
      name: pod.metadata.name,
      uid: metaText(pod, "uid"),
    },
  };
  const node = asText(at(pod, "spec", "nodeName"));
  if (node !== "") endpoint["nodeName"] = node;
  return endpoint;
}

class EndpointSlices {
  readonly #api: Api;
  readonly #client: ControllerClient;

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:endpointslice-controller",
      manager: "kube-controller-manager",
    });
  }

  keysOf(event: StoreEvent): string[] {
    if (event.resource === "services") return [objectKey(event.object)];
    if (event.resource === SLICES) {
      const owner = asText(at(event.object, "metadata", "labels", "kubernetes.io/service-name"));
      return at(event.object, "metadata", "labels", MANAGED_BY) === MANAGER
        ? [`${metaText(event.object, "namespace")}/${owner}`]
        : [];
    }
    if (event.resource !== "pods") return [];
    const forms = [event.object, ...(event.previous === undefined ? [] : [event.previous])];
    return [...this.#api.store.values("services")].filter((service) => forms.some((pod) => selects(service, pod))).map(
      objectKey,
    );
  }

  reconcile(key: string): void {
    const service = this.#api.store.get("services", key);
    if (service === undefined || service.metadata["deletionTimestamp"] !== undefined) return;
    const hasSelector = Object.keys(asObject(at(service, "spec", "selector"))).length > 0;
    if (!hasSelector || at(service, "spec", "type") === "ExternalName") return;
    const families = asList(at(service, "spec", "ipFamilies")).map((it) => asText(it));
    const own = [...this.#api.store.values(SLICES)].filter((slice) =>
      slice.metadata["namespace"] === service.metadata["namespace"] &&
      at(slice, "metadata", "labels", "kubernetes.io/service-name") === service.metadata.name &&
      at(slice, "metadata", "labels", MANAGED_BY) === MANAGER
    );
    for (const slice of own) {
      if (!families.includes(asText(slice["addressType"]))) {
        this.#client.delete(this.#place(service, slice.metadata.name));
      }
    }
    for (const family of families) {
      this.#write(service, { family, live: own.find((slice) => slice["addressType"] === family) });
    }
  }

  #place(service: ApiObject, name: string): { resource: string; namespace: string; name: string } {
    return { resource: SLICES, namespace: metaText(service, "namespace"), name };
  }

  #write(service: ApiObject, options: { family: string; live: ApiObject | undefined }): void {
    const { family, live } = options;
    const pods = this.#api.store.list("pods").filter((pod) => selects(service, pod) && !isFinished(pod));
    const endpoints: Json[] = [];
    for (const pod of pods) {
      const address = addressOf(pod, family);
      if (address !== undefined) endpoints.push(endpointOf(service, pod, address));
    }
    const first = pods.find((pod) => addressOf(pod, family) !== undefined);
    const ports: Json[] = first === undefined ? [] : asList(at(service, "spec", "ports")).flatMap((it): Json[] => {
      const port = asObject(it);
      const number = portNumber(first, port);
      if (number === undefined) return [];
      return [{
        name: port["name"] ?? "",
        protocol: port["protocol"] ?? "TCP",
        port: number,
        ...(port["appProtocol"] === undefined ? {} : { appProtocol: port["appProtocol"] }),
      }];
    });
    if (live !== undefined) {
      if (equal(live["endpoints"] ?? [], endpoints) && equal(live["ports"] ?? [], ports)) return;
      this.#client.update(this.#place(service, live.metadata.name), { ...live, endpoints, ports });
      return;
    }
    const labels: JsonObject = {
      ...asObject(service.metadata["labels"]),
      "kubernetes.io/service-name": service.metadata.name,
      [MANAGED_BY]: MANAGER,
    };
    if (at(service, "spec", "clusterIP") === "None") labels["service.kubernetes.io/headless"] = "";
    this.#client.create(this.#place(service, ""), {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        generateName: `${service.metadata.name}-`,
        namespace: metaText(service, "namespace"),
        labels,
        ownerReferences: [{
          apiVersion: "v1",
          kind: "Service",
          name: service.metadata.name,
          uid: metaText(service, "uid"),
          controller: true,
          blockOwnerDeletion: true,
        }],
      },
      addressType: family,
      endpoints,
      ports,
    });
  }
}

/** Starts the controller; the returned function stops it. */
export function startEndpointSlices(api: Api, counts: RequestCounts): () => void {
  const slices = new EndpointSlices(api, counts);
  const first = [...api.store.values("services")].map(objectKey);
  return startLoop(api, first, { keysOf: (event) => slices.keysOf(event), reconcile: (key) => slices.reconcile(key) });
}
