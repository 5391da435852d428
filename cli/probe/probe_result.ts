// What a probe of a Service connects to, what its outcomes mean, and how they are printed. Pure.
import type { Protocol } from "../../core/shared/ip.ts";
import { renderWrappedRows, wrapText } from "../output/wrap_text.ts";

/** One port at one published address. */
export interface ProbeTarget {
  /** IP, or a name where the status has one. */
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
  /** The system's word for a failure that has no state of its own. */
  readonly detail?: string;
}

/** One row, as `-o json` prints it. */
export interface ProbeRow extends ProbeTarget, ProbeOutcome {
  readonly message: string;
  /** Whether this is a TCP port that does not connect. */
  readonly problem: boolean;
}

/** Everything that a probe found. */
export interface ProbeAnswer {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly results: readonly ProbeRow[];
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

/** The row for what came of `target`. */
export function probeRow(target: ProbeTarget, outcome: ProbeOutcome): ProbeRow {
  const { state, latencyMs, detail } = outcome;
  const message = state === "NotTried" && target.protocol !== "SCTP"
    ? "the time for the whole probe was over"
    : MESSAGES[state];
  return {
    ...target,
    state,
    ...(latencyMs === undefined ? {} : { latencyMs: Math.round(latencyMs * 10) / 10 }),
    ...(detail === undefined ? {} : { detail }),
    message: detail === undefined ? message : `${message}: ${detail}`,
    problem: target.protocol === "TCP" && state !== "Connected",
  };
}

/** The table, `width` characters wide. */
export function renderProbe({ namespace, name, results }: ProbeAnswer, width: number): string {
  const table = renderWrappedRows(
    ["ADDRESS", "PORT", "RESULT", "MS", "WHAT IT MEANS"],
    results.map(({ address, port, protocol, state, latencyMs, message }) => [
      address,
      `${port}/${protocol}`,
      state,
      latencyMs === undefined ? "" : latencyMs.toFixed(1),
      message,
    ]),
    width,
  );
  const failed = results.filter(({ problem }) => problem);
  if (failed.length === 0) return table;
  const advice = `${failed.length} of ${results.length} do not connect from here. ` +
    `k3slb explain ${namespace}/${name} says which node serves and which does not.`;
  return `${table}\n${wrapText(advice, width).join("\n")}\n`;
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

const MESSAGES: Readonly<Record<ProbeState, string>> = {
  Connected: "",
  Answered: "",
  Refused: "no rules there, no ready endpoint, or a firewall that rejects",
  TimedOut: "no answer: something between here and the endpoint drops packets, or the address is down",
  Silent: "sent, no answer and no refusal: whether it arrived can't be told",
  NoRoute: "this machine has no way to the address",
  UnknownName: "the name has no address",
  Failed: "the attempt failed",
  NotTried: "SCTP can't be tried from here",
};
