// What is kept of Services and EndpointSlices: only what the reading reads, and of long texts no more than shows that they are too long. Pure.
import { pick, trimMetadata } from "../kube/trim.ts";
import type { EndpointSlice, Service } from "../kube/types.ts";
import { SLICE_SERVICE_LABEL } from "./keys.ts";
import { LAST_GOOD_ANNOTATION, POOL_LABEL } from "./labels.ts";
import { MAX_EXTERNAL_IPS, MAX_PORTS, MAX_RECORD_LENGTH } from "./reading.ts";
import { MAX_SOURCE_RANGES, WISHES } from "./wishes.ts";

/** A Service without what plays no part in its reading, with the addresses in its status. */
export function trimService(service: Service): Service {
  const { spec } = service;
  const metadata = trimMetadata(service.metadata, { labels: SERVICE_LABELS, annotations: isKeptAnnotation });
  const { annotations } = metadata;
  if (annotations !== undefined) {
    for (const [name, text] of Object.entries(annotations)) {
      annotations[name] = text.slice(0, (MAX_LENGTHS.get(name) ?? 0) + 1);
    }
  }
  const ranges = spec?.loadBalancerSourceRanges;
  const selector = Object.entries(spec?.selector ?? {});
  return {
    metadata,
    spec: {
      ...pick(spec, [
        "type",
        "loadBalancerClass",
        "loadBalancerIP",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "externalTrafficPolicy",
        "sessionAffinity",
        "sessionAffinityConfig",
      ]),
      ...(ranges === undefined ? {} : {
        loadBalancerSourceRanges: ranges.slice(0, MAX_SOURCE_RANGES + 1).map((range) =>
          range.slice(0, MAX_RANGE_LENGTH)
        ),
      }),
      ...(spec?.externalIPs === undefined ? {} : { externalIPs: spec.externalIPs.slice(0, MAX_EXTERNAL_IPS) }),
      // A selector of so many labels is none that anyone means.
      ...(selector.length === 0 || selector.length > MAX_SELECTOR_LABELS
        ? {}
        : { selector: Object.fromEntries(selector) }),
      ports: (spec?.ports ?? []).slice(0, MAX_PORTS + 1).map((port) => ({
        port: port.port,
        ...pick(port, ["name", "protocol", "nodePort", "targetPort"]),
      })),
    },
    status: pick(service.status, ["loadBalancer"]),
  };
}

/** An EndpointSlice without what no choice of endpoints reads; which pods they are is kept of those of `nodeName` only. */
export function trimEndpointSlice(slice: EndpointSlice, nodeName?: string): EndpointSlice {
  return {
    metadata: trimMetadata(pick(slice.metadata, ["name", "namespace", "resourceVersion", "labels"]), {
      labels: SLICE_LABELS,
    }),
    addressType: slice.addressType,
    ...(slice.ports ? { ports: slice.ports.map((port) => pick(port, ["name", "port", "protocol"])) } : {}),
    endpoints: (slice.endpoints ?? []).map((endpoint) => ({
      addresses: endpoint.addresses.slice(0, 1),
      ...(endpoint.conditions?.ready ? { conditions: READY } : pick(endpoint, ["conditions"])),
      ...pick(endpoint, ["nodeName"]),
      ...(nodeName !== undefined && endpoint.nodeName === nodeName && endpoint.targetRef
        ? { targetRef: pick(endpoint.targetRef, ["kind", "namespace", "name"]) }
        : {}),
    })),
  };
}

function isKeptAnnotation(name: string): boolean {
  return MAX_LENGTHS.has(name);
}

/** Of a ready endpoint nothing else is read; all of them share this object. */
const READY = { ready: true };
const SERVICE_LABELS: ReadonlySet<string> = new Set([POOL_LABEL]);
const SLICE_LABELS: ReadonlySet<string> = new Set([SLICE_SERVICE_LABEL]);
const MAX_LENGTHS: ReadonlyMap<string, number> = new Map([
  ...Object.values(WISHES).map(({ name, maxLength }): [string, number] => [name, maxLength]),
  [LAST_GOOD_ANNOTATION, MAX_RECORD_LENGTH],
]);
const MAX_SELECTOR_LABELS = 32;
/** No address range is as long. */
const MAX_RANGE_LENGTH = 64;
