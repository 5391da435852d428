// The data plane of a node made of a namespace: its tools run inside it.
import { createDataplane } from "../../node_agent/rules/dataplane.ts";
import type { DataplaneHost, DataplaneOptions } from "../../node_agent/rules/dataplane.ts";
import type { Dataplane, ForwardedPort } from "../../node_agent/dataplane_contract.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import { DEFAULT_MARK_BITS } from "../../node_agent/rules/parse_mark_bits.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import type { Netns } from "./netns.ts";
import { portWith } from "./plans.ts";

/** The machine that a namespace plays. `path` replaces PATH, for tools that fail. */
export function hostOf(ns: Netns, options: { readonly path?: string } = {}): DataplaneHost {
  return {
    exec: createExec({ prefix: ns.command([]), ...options }),
    readSysctl: async (path) => (await ns.exec("cat", [`/proc/sys/${path}`])).stdout,
    localIps: async () => {
      const links = JSON.parse(await ns.run("ip", ["-j", "address"])) as { addr_info: { local: string }[] }[];
      return links.flatMap((link) => link.addr_info.map((one) => one.local));
    },
  };
}

/** A data plane for `ns`. */
export function dataplaneOf(ns: Netns, options: Partial<DataplaneOptions> = {}): Promise<Dataplane> {
  return createDataplane({
    iptablesMode: "auto",
    markBits: DEFAULT_MARK_BITS,
    log: SILENT_LOGGER,
    host: hostOf(ns),
    ...options,
  });
}

/** A TCP port 80 of `default/web` without endpoints, with what `fields` changes. */
export function portOf(fields: Partial<ForwardedPort> = {}): ForwardedPort {
  return portWith({ endpoints: [], ...fields });
}
