// Has someone edited the packaged Corefile? Pure. Asked of `managedFields`, not of the text alone: right after an update of
// this program the old text is still there and nobody has edited it.
import type { ConfigMap } from "../kube/types.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import { COREDNS_CONFIG_MAP, COREDNS_CUSTOM_CONFIG_MAP, COREFILE_KEY } from "./coredns.ts";

/** The sentence for the Event about an edited Corefile; `undefined` if nobody but a deployer wrote it. */
export function corefileDrift(configMap: ConfigMap, packaged: string): string | undefined {
  const text = configMap.data?.[COREFILE_KEY];
  if (text === packaged) return undefined;
  const editor = configMap.metadata?.managedFields?.find((entry) =>
    !isDeployer(entry.manager ?? "") && ownsCorefile(entry.fieldsV1)
  );
  if (editor === undefined && text !== undefined) return undefined;
  const by = editor?.manager === undefined ? "" : ` by "${editor.manager}"`;
  return `${COREFILE_KEY} of ConfigMap ${COREDNS_CONFIG_MAP} was ${text === undefined ? "removed" : `edited${by}`}; ` +
    `the change is lost at the next start. Put it into ConfigMap ${COREDNS_CUSTOM_CONFIG_MAP} in the same namespace instead: ` +
    "keys ending in .override are read inside the server block, keys ending in .server beside it";
}

function isDeployer(manager: string): boolean {
  return manager === FIELD_MANAGER || manager.startsWith("deploy@");
}

function ownsCorefile(fields: object | undefined): boolean {
  const data: unknown = fields === undefined ? undefined : (fields as Readonly<Record<string, unknown>>)["f:data"];
  return typeof data === "object" && data !== null && `f:${COREFILE_KEY}` in data;
}
