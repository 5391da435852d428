// Under which name a server takes part in elections and signs its Events. It needs no Node object. Pure.
import type { HostFacts } from "./host_facts.ts";

/** What {@linkcode serverIdentity} takes. */
export interface ServerIdentityOptions {
  /** Given by flag or environment. */
  readonly nodeName?: string;
  readonly facts: HostFacts;
  /** Random text, different for each run. */
  readonly instance: string;
}

/** A server's names. */
export interface ServerIdentity {
  /** Name of the host, for Events. */
  readonly host: string;
  /** `host_instance`, as Kubernetes' own components sign their Leases. */
  readonly name: string;
}

/** The identity of the server on this host: flag, else host name, else machine id, for hosts that have no name. */
export function serverIdentity(options: ServerIdentityOptions): ServerIdentity {
  const { nodeName, facts, instance } = options;
  const host = nodeName ?? usableHostName(facts.hostName) ?? machineName(facts.machineId) ?? "unnamed";
  return { host, name: `${host}_${instance}` };
}

function usableHostName(hostName: string): string | undefined {
  const name = hostName.toLowerCase();
  return name === "" || name === "(none)" || name === "localhost" || name.startsWith("localhost.") ? undefined : name;
}

function machineName(machineId: string): string | undefined {
  return machineId === "" ? undefined : `machine-${machineId.slice(0, MACHINE_ID_LENGTH)}`;
}

const MACHINE_ID_LENGTH = 12;
