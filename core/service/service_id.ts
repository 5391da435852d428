// Short names of a Service and of its ports in what programs tell each other: a Service that is made anew, or gets other ports, has others. Pure.
import type { Service } from "../kube/types.ts";
import { portId } from "./port_owners.ts";
import { readService, type ServicePort } from "./reading.ts";

/** The first 48 bits of the Service's uid: enough to tell the Services of one cluster apart, short enough for thousands of them. */
export function serviceId(service: Service): string {
  return (service.metadata?.uid ?? "").slice(0, ID_LENGTH);
}

/** The ports of `service`, such as `80 443 53/UDP`; of very many a hash. */
export function portsText(service: Service): string {
  const { ports } = readService(service);
  const known = PORTS_TEXTS.get(ports) ?? textOf(ports);
  PORTS_TEXTS.set(ports, known);
  return known;
}

/** A Service's ports are told again with each change of any other. */
const PORTS_TEXTS = new WeakMap<object, string>();

function textOf(ports: readonly ServicePort[]): string {
  const text = ports.map((port) => portId(port).replace(/\/TCP$/, "")).toSorted().join(" ");
  return text.length <= MAX_PORTS_TEXT ? text : `#${hash(text)}`;
}

/** FNV-1a, 32 bits. Whoever may write what is compared by it may write anything else there too. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value.toString(16).padStart(8, "0");
}

const ID_LENGTH = 13;
const MAX_PORTS_TEXT = 96;
