// Verdicts on Services + what the kernel has -> what the agent says of them on its Node. Pure.
import type { NodeReport, ReportAuthor, ServiceReport } from "../../../core/service/node_report.ts";
import { readService } from "../../../core/service/reading.ts";
import { portsText, serviceId } from "../../../core/service/service_id.ts";
import { present } from "../../../core/shared/values.ts";
import { type ApplyOutcome, desiredGate } from "./desired_gate.ts";
import type { ServiceVerdict } from "../plan/forwarding_plan.ts";

/** What the agent says of `verdicts`, signed by `author`. */
export function desiredReport(
  verdicts: readonly ServiceVerdict[],
  { outcome, author }: { readonly outcome: ApplyOutcome; readonly author: ReportAuthor },
): NodeReport {
  const services = new Map(verdicts.map((verdict) => [serviceId(verdict.service), serviceReport(verdict, outcome)]));
  return { ...author, services, cut: 0 };
}

function serviceReport(verdict: ServiceVerdict, outcome: ApplyOutcome): ServiceReport {
  const { service } = verdict;
  const ports = portsText(service);
  const { status, reason, message, servedAddresses } = desiredGate(verdict, outcome);
  if (status === "False") return { ports, serves: false, reason, message };
  // What is wrong in the Service itself, the server reads there.
  const faults = new Set(readService(service).faults.map((one) => one.message));
  const note = verdict.notes.filter((one) => !faults.has(one)).join("; ") || undefined;
  return { ports, serves: true, ...present({ servedAddresses, note }) };
}
