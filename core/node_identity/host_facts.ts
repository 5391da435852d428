// Reads what tells this machine from others: host name, machine id, DMI uuid, interface addresses. Decides nothing.
// Files: /etc/machine-id (machine-id(5)), /sys/class/dmi/id/product_uuid (root only), /etc/hostname.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { compareText } from "../shared/compare_text.ts";
import { IPVS_INTERFACE } from "../shared/ip.ts";

/** An interface of this host that is up, and its addresses. */
export interface HostInterface {
  /** Such as `eth0`. */
  readonly name: string;
  /** As text, link-local ones with a zone. */
  readonly addresses: readonly string[];
}

/** What is known of this machine; a file that can't be read leaves its field empty. */
export interface HostFacts {
  readonly hostName: string;
  readonly machineId: string;
  readonly systemUuid: string;
  /** Addresses of all interfaces but loopback ones. */
  readonly addresses: readonly string[];
}

/** What {@linkcode readHostFacts} takes, for tests. */
export interface HostFactsOptions {
  /** Folder that stands for `/`. */
  readonly root?: string;
  /** The kernel's host name. */
  readonly hostName?: () => string;
  readonly interfaces?: () => readonly HostInterface[];
}

/** The facts of the machine whose files are under `root`. Never throws. */
export async function readHostFacts(options: HostFactsOptions = {}): Promise<HostFacts> {
  const root = options.root ?? "/";
  const [fileName, machineId, dbusId, systemUuid] = await Promise.all(
    ["etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id", "sys/class/dmi/id/product_uuid"]
      .map((path) => readText(join(root, path))),
  );
  const kernelName = (options.hostName ?? hostname)();
  const interfaces = interfacesOrNone(options.interfaces ?? readHostInterfaces);
  return {
    // A container or an early boot may not have set the kernel's name yet.
    hostName: kernelName !== "" && kernelName !== "(none)" ? kernelName : (fileName ?? ""),
    machineId: machineId || dbusId || "",
    systemUuid: systemUuid ?? "",
    addresses: interfaces.flatMap((one) => one.addresses).filter((address) => !LOOPBACK_REGEXP.test(address)),
  };
}

/** The interfaces of this host that are up, sorted by name; {@linkcode IPVS_INTERFACE} is among them if it is there at all. */
export function readHostInterfaces(): readonly HostInterface[] {
  const found = Object.entries(networkInterfaces())
    .map(([name, entries]) => ({ name, addresses: (entries ?? []).map((entry) => entry.address) }));
  const isHidden = !found.some(({ name }) => name === IPVS_INTERFACE) && existsSync(`/sys/class/net/${IPVS_INTERFACE}`);
  return [...found, ...(isHidden ? [{ name: IPVS_INTERFACE, addresses: [] }] : [])]
    .sort((a, b) => compareText(a.name, b.name));
}

/** A sandbox may keep the C library from listing interfaces, which it does over netlink; a name can be found without them. */
function interfacesOrNone(read: () => readonly HostInterface[]): readonly HostInterface[] {
  try {
    return read();
  } catch {
    return [];
  }
}

const LOOPBACK_REGEXP = /^(127\.|::1$|fe80:)/i;

/** First line that is no comment; empty if the file can't be read. */
async function readText(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n").map((line) => line.trim()).find((line) => line !== "" && !line.startsWith("#")) ?? "";
}
