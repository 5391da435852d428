// Which Services are left out after the rules could not be written, so that the others are served. Pure.
import { compareText } from "../../core/shared/compare_text.ts";
import type { ForwardedPort } from "../dataplane_contract.ts";

/** Services with fewer rules are never the reason why a write fails. */
const MIN_RULES = 500;

/** How many rules a port comes to, about. */
function sizeOf(port: ForwardedPort): number {
  const perEndpoint = port.affinitySeconds === undefined ? 1 : 3;
  return port.endpoints.length * perEndpoint + (port.sourceRanges ?? []).length + (port.matchAddresses ?? []).length;
}

/** The Service of `port`, as messages name it. */
export function serviceName({ namespace, service }: ForwardedPort): string {
  return `${namespace}/${service}`;
}

/** `port` as messages name it. */
export function portName(port: ForwardedPort): string {
  return `${serviceName(port)} ${port.protocol} ${port.port}`;
}

/**
 * The largest Services, with their rules: as many as leave no more than half of all rules. Empty if none is large: then size is
 * not why it failed.
 */
export function largestServices(ports: readonly ForwardedPort[]): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const port of ports) sizes.set(serviceName(port), (sizes.get(serviceName(port)) ?? 0) + sizeOf(port));
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const chosen = new Map<string, number>();
  let left = total;
  for (const [name, size] of [...sizes].sort(([a, x], [b, y]) => y - x || compareText(a, b))) {
    if (size < MIN_RULES || (chosen.size > 0 && left <= total / 2)) break;
    chosen.set(name, size);
    left -= size;
  }
  return chosen;
}
