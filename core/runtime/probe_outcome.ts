// What a probe connects to, and how an attempt can end. Pure.
import type { Protocol } from "../shared/ip.ts";

/** One port at one address. */
export interface ProbeTarget {
  /** IP, or a name where a status has one. */
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
}

/** How an attempt ended. */
export type ProbeState =
  /** TCP: the connection was made. UDP: something came back. */
  | "Connected"
  | "Answered"
  /** A reset, or an ICMP message that the port is closed; some runtimes tell other ICMP messages from that no more. */
  | "Refused"
  | "TimedOut"
  /** Connected, and asked by HTTP: no answer, or one of another kind. */
  | "NotHttp"
  /** UDP: sent, and nothing came back, as most programs do with an empty packet. */
  | "Silent"
  | "NoRoute"
  | "UnknownName"
  | "Failed"
  | "NotTried";

/** What came of one attempt. */
export interface ProbeOutcome {
  readonly state: ProbeState;
  /** Until the connection was made, or the answer came; absent: there was none. */
  readonly latencyMs?: number;
  /** Status of the answer to what was asked by HTTP. */
  readonly httpStatus?: number;
  /** The system's word for a failure that has no state of its own. */
  readonly detail?: string;
}

/** Every port at every address, in the Service's order. */
export function probeTargets(
  addresses: readonly string[],
  ports: readonly { readonly port: number; readonly protocol: Protocol }[],
): readonly ProbeTarget[] {
  return addresses.flatMap((address) => ports.map(({ port, protocol }) => ({ address, port, protocol })));
}

/** What the code of a failed connection or packet means (`errno`, or a resolver's word). */
export function failureOutcome(code: string): ProbeOutcome {
  const state = STATE_BY_CODE[code];
  return state === undefined ? { state: "Failed", detail: code } : { state };
}

const STATE_BY_CODE: Readonly<Record<string, ProbeState>> = {
  ECONNREFUSED: "Refused",
  ECONNRESET: "Refused",
  ETIMEDOUT: "TimedOut",
  EHOSTUNREACH: "NoRoute",
  ENETUNREACH: "NoRoute",
  // What Linux says of an address of a family that the machine does not have.
  EADDRNOTAVAIL: "NoRoute",
  EAFNOSUPPORT: "NoRoute",
  ENOTFOUND: "UnknownName",
  EAI_AGAIN: "UnknownName",
};
