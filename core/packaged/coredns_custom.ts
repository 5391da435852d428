// What in the users' ConfigMap of CoreDNS would keep it from starting. Pure.
// Facts: plugins that CoreDNS 1.14.6 takes once per server block (`plugin.ErrOnce` in their setup), each tried with the packaged Corefile.
// A running CoreDNS goes on with what it had, so nothing is seen until its next start.
import type { ConfigMap } from "../kube/types.ts";
import { COREDNS_CUSTOM_CONFIG_MAP } from "./coredns.ts";

const TAKE_OUT = "take it out";
const OWN_BLOCK = "put it into a server block of its own, in a key that ends in .server";

/** Plugins of the packaged server block that may not be there a second time, and what to do instead. */
const ONCE: Readonly<Record<string, string>> = {
  cache: OWN_BLOCK,
  errors: TAKE_OUT,
  hosts: "give the names to k3slb server with --dns-hosts NAME=IP",
  kubernetes: OWN_BLOCK,
  loop: TAKE_OUT,
  prometheus: TAKE_OUT,
  ready: TAKE_OUT,
};

/** A sentence for each key of `configMap` that CoreDNS refuses at its next start. */
export function customProblems(configMap: ConfigMap | undefined): readonly string[] {
  return Object.entries(configMap?.data ?? {}).flatMap(([key, text]) => {
    if (!key.endsWith(".override")) return [];
    const found = [...new Set(directives(text))].filter((name) => Object.hasOwn(ONCE, name));
    return found.map((name) =>
      `Key "${key}" of ConfigMap ${COREDNS_CUSTOM_CONFIG_MAP} has the plugin "${name}", which CoreDNS takes only once and the packaged ` +
      `Corefile has already: it will not start again with it. Instead, ${ONCE[name]}`
    );
  });
}

/** The first word of each line outside of braces, as the Corefile has its plugins. */
function directives(text: string): readonly string[] {
  let depth = 0;
  return text.split("\n").flatMap((line) => {
    const words = line.replace(/#.*$/, "").trim().split(/\s+/);
    const before = depth;
    depth += words.filter((word) => word.endsWith("{")).length - words.filter((word) => word === "}").length;
    const first = words[0] ?? "";
    return before === 0 && first !== "" && first !== "}" ? [first] : [];
  });
}
