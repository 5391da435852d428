// Which credentials and which node name were given, in the form that options of both programs take. Pure.
import { present } from "../../core/shared/values.ts";

/** What was given; absent fields are found out. */
export interface GivenIdentity {
  readonly kubeconfig?: string;
  readonly nodeName?: string;
}

/** The given ones of `settings`. */
export function givenIdentity(
  settings: { readonly kubeconfig: string | undefined; readonly "node-name": string | undefined },
): GivenIdentity {
  const { kubeconfig, "node-name": nodeName } = settings;
  return present({ kubeconfig, nodeName });
}
