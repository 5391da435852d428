// Ports that the node needs for itself and that no Service may take: parsing `--reserved-ports`. Pure.
import { K3slbError } from "../../../core/shared/errors.ts";
import type { Protocol } from "../../../core/shared/ip.ts";

/**
 * Reserved unless told otherwise. A process that listens has its port anyway; these are kept while it does not, as it restarts: SSH, etcd, the
 * API servers of kubeadm, K3s, RKE2 (with its supervisor) and MicroK8s, and what kubelet, kube-proxy, the control plane and this
 * program answer health on (https://kubernetes.io/docs/reference/networking/ports-and-protocols/).
 */
export const DEFAULT_RESERVED_PORTS: readonly string[] = [
  "22/tcp",
  "2379-2381/tcp",
  "6443/tcp",
  "9345/tcp",
  "10248-10261/tcp",
  "16443/tcp",
];

/** Ports `first` to `last` of one protocol, or of every protocol. */
export interface ReservedRange {
  /** First port. */
  readonly first: number;
  /** Last port, included. */
  readonly last: number;
  /** Absent: every protocol. */
  readonly protocol?: Protocol;
}

/**
 * The ranges that texts such as `22`, `10250-10259` or `6443/tcp` mean.
 *
 * @throws {K3slbError} code "usage" if one of them is no port, range or protocol
 */
export function parseReservedPorts(texts: readonly string[]): readonly ReservedRange[] {
  return texts.map((text) => text.trim()).filter((text) => text !== "").map(parseRange);
}

/** The range that `port` of `protocol` is in, if any. */
export function findReservedRange(
  ranges: readonly ReservedRange[],
  port: { readonly protocol: Protocol; readonly port: number },
): ReservedRange | undefined {
  return ranges.find((range) =>
    range.first <= port.port && port.port <= range.last &&
    (range.protocol === undefined || range.protocol === port.protocol)
  );
}

function parseRange(text: string): ReservedRange {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first < 1 || last > 65535 || first > last) {
    throw new K3slbError(`Reserved port "${text}" is neither a port nor a range of ports`, {
      code: "usage",
      hint: "Write it as 22, 10250-10259 or 6443/tcp",
    });
  }
  const protocol = match[3]?.toUpperCase();
  return protocol === undefined ? { first, last } : { first, last, protocol: protocol as Protocol };
}
