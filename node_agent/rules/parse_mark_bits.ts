// The four packet mark bits as the operator writes them. Which bits others use: kube-proxy 0x4000 and 0x8000, CNI portmap 0x2000,
// kube-router 0x10000 and 0x20000, Tailscale 0xff0000, Calico by default all of 0xffff0000 (its `IptablesMarkMask` says).
import { K3slbError } from "../../core/shared/errors.ts";
import type { MarkBits } from "./ruleset.ts";

/** The bits used unless told otherwise. */
export const DEFAULT_MARK_BITS = "0x1000000,0x2000000,0x4000000,0x8000000";

/** Bits that programs of nearly every cluster use. */
const TAKEN_BITS: readonly { readonly bits: number; readonly by: string }[] = [
  { bits: 0x2000, by: "the CNI portmap plugin" },
  { bits: 0xc000, by: "kube-proxy and the kubelet" },
];

/**
 * The bits that `text` names: ours, masquerade, drop, reject, by commas, decimal or as 0x.
 * @throws {K3slbError} code "mark-bits-invalid" unless they are four different single bits that no program of every cluster uses
 */
export function parseMarkBits(text: string): MarkBits {
  const bits = text.split(",").map((part) => parseBit(part.trim(), text));
  const [ours, masquerade, drop, reject] = bits;
  if (
    bits.length !== 4 || ours === undefined || masquerade === undefined || drop === undefined || reject === undefined
  ) {
    throw invalid(text, `it names ${bits.length} bits`);
  }
  if (new Set(bits).size !== 4) throw invalid(text, "it names one bit twice");
  return { ours, masquerade, drop, reject };
}

function parseBit(part: string, text: string): number {
  const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(part) ? Number(part) : NaN;
  if (!(value >= 1 && value <= 0x80000000 && Number.isInteger(Math.log2(value)))) {
    throw invalid(text, `"${part}" is not one bit of 32`);
  }
  const taken = TAKEN_BITS.find((one) => (one.bits & value) !== 0);
  if (taken) throw invalid(text, `"${part}" is used by ${taken.by}`);
  return value;
}

function invalid(text: string, why: string): K3slbError {
  return new K3slbError(`Cannot use mark bits "${text}": ${why}`, {
    code: "mark-bits-invalid",
    hint: `Name four different bits that nothing else on the node uses, such as "${DEFAULT_MARK_BITS}"`,
  });
}
