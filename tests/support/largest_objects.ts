// The largest and worst objects that an API server takes: 256 KiB of annotations, 1.5 MiB of anything, 1,000 endpoints in a slice. Pure.
// Facts: `TotalAnnotationSizeLimitB` and `maxEndpoints`, `maxPorts` of Kubernetes' validation; etcd's request limit of 1.5 MiB.
import type { EndpointSlice, Node, Service } from "../../core/kube/types.ts";
import { WISHES } from "../../core/service/wishes.ts";

const ANNOTATIONS_LENGTH = 256 * 1024 - 2_048;
/** As many as fit into etcd's limit, with what the API server writes beside each into `managedFields`. */
const MANY_PORTS = 7_000;

/** Texts that are worst for one parser or another; each is repeated to the length that is wanted. */
const WORST_TEXTS: Readonly<Record<string, string>> = {
  commas: ",",
  brackets: "[",
  braces: "{",
  quotes: '"\\',
  colons: "a: ",
  lines: "- a\n",
  ranges: "10.0.0.0/8,",
  nulls: '"a":1,',
};

/** A Service of type LoadBalancer with `spec` added. */
export function serviceOf(
  { annotations, spec, name = "worst" }: {
    readonly name?: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly spec?: Partial<NonNullable<Service["spec"]>>;
  } = {},
): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace: "evil",
      uid: `uid-${name}`,
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
    },
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.43.0.9",
      clusterIPs: ["10.43.0.9"],
      ipFamilies: ["IPv4"],
      ports: [{ name: "a", port: 80, protocol: "TCP", nodePort: 30_080 }],
      ...spec,
    },
  };
}

/** Every annotation that is read, with each of the worst texts: as long as it is looked at, and as long as the API takes it. */
export function hostileServices(): readonly { readonly what: string; readonly service: Service }[] {
  const names = Object.values(WISHES).map(({ name, maxLength }) => ({ name, maxLength }));
  return Object.entries(WORST_TEXTS).flatMap(([what, part]) => {
    const text = (length: number): string => part.repeat(Math.ceil(length / part.length)).slice(0, length);
    const bounded = Object.fromEntries(names.map(({ name, maxLength }) => [name, text(maxLength)]));
    const shares = Object.fromEntries(names.map(({ name }) => [name, text(ANNOTATIONS_LENGTH / names.length)]));
    return [
      { what: `${what} in every annotation, within bounds`, service: serviceOf({ annotations: bounded }) },
      { what: `${what} in 256 KiB of annotations`, service: serviceOf({ annotations: shares }) },
      {
        what: `${what} in 256 KiB of last-good`,
        service: serviceOf({ annotations: { ...bounded, "k3slb.io/last-good": text(ANNOTATIONS_LENGTH / 2) } }),
      },
    ];
  });
}

/** Named ports, as many as fit into one object. */
export function manyPorts(
  count = MANY_PORTS,
): readonly { readonly name: string; readonly port: number; readonly protocol: string }[] {
  return Array.from({ length: count }, (_, index) => ({ name: `p${index}`, port: index + 1, protocol: "TCP" }));
}

/** A Service with as many ports as fit. */
export function servicePorts(count = MANY_PORTS): Service {
  return serviceOf({ spec: { ports: manyPorts(count).map((port) => ({ ...port })) } });
}

/** A Service with external IPs, and as many ports as fit beside them. */
export function serviceExternalIps(ips = 30_000, ports = 3_000): Service {
  const externalIPs = Array.from(
    { length: ips },
    (_, index) => `198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
  );
  return serviceOf({ spec: { externalIPs, ports: manyPorts(ports).map((port) => ({ ...port })) } });
}

/** One slice. */
export function sliceOf(ports: number, endpoints: number, name = "worst"): EndpointSlice {
  return {
    metadata: { name: `${name}-1`, namespace: "evil", labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    ports: manyPorts(ports).map((port) => ({ ...port })),
    endpoints: Array.from({ length: endpoints }, (_, index) => ({
      addresses: [`10.42.${index >> 8}.${index & 255}`],
      conditions: { ready: true },
      nodeName: "node1",
      targetRef: { kind: "Pod", namespace: "evil", name: `pod-${index}` },
    })),
  };
}

/** A Node with as many addresses, taints, labels and images as fit. */
export function largestNode(name = "node1"): Node {
  const count = 5_000;
  return {
    metadata: {
      name,
      labels: Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`svccontroller.k3s.cattle.io/lbpool-${index}`, "x"]),
      ),
      annotations: { "k3slb.io/published-addresses": "8.8.8.8,".repeat(32_000) },
    },
    spec: {
      taints: Array.from({ length: count }, (_, index) => ({ key: `k${index}`, effect: "NoSchedule" })),
      podCIDRs: ["10.42.0.0/24"],
    },
    status: {
      addresses: Array.from(
        { length: count },
        (_, index) => ({ type: "InternalIP", address: `10.${index >> 8}.${index & 255}.1` }),
      ),
      images: Array.from({ length: count }, (_, index) => ({ names: [`registry.example.com/image-${index}:1`] })),
      conditions: [{ type: "Ready", status: "True" }],
    },
  };
}

/** 1 MiB of values that are nested, many and odd. */
export function largestValues(): string {
  return Array.from({ length: 26_000 }, (_, index) => `key${index}:\n  - {a: [1, "x"]}\n`).join("").slice(0, 1 << 20);
}

/** Manifest files: 10 MB of small objects, one by one or as a List, and of one text; the largest object of many fields that an API server takes. */
export function manifestFiles(): Readonly<Record<string, string>> {
  const small = (index: number): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-${index}\n  namespace: default\ndata:\n  key: "value ${index}"\n`;
  const line = "x".repeat(98);
  const fields = Array.from({ length: 80_000 }, (_, index) => `  a${index}: x\n`).join("");
  const item = (index: number): string => `- ${small(index).replaceAll("\n", "\n  ").trimEnd()}\n`;
  return {
    "one object of 80,000 fields": small(0) + fields,
    "a List of 80,000 small objects": `apiVersion: v1\nkind: List\nitems:\n${
      Array.from({ length: 80_000 }, (_, index) => item(index)).join("")
    }`,
    "80,000 small objects": Array.from({ length: 80_000 }, (_, index) => small(index)).join("---\n"),
    "one object of 10 MB": `${small(0)}  long: |\n${`    ${line}\n`.repeat(100_000)}`,
  };
}
