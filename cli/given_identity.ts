// Which credentials and which node name were given, in the form that options of both programs take. Pure.
import type { ProgramHost } from "./program_host.ts";

/** What was given; absent fields are found out. */
export interface GivenIdentity {
  readonly kubeconfig?: string;
  readonly nodeName?: string;
}

/** The given ones of `settings`. `KUBECONFIG` may name several files, so it is left to the one who reads kubeconfigs. */
export function givenIdentity(
  settings: { readonly kubeconfig: string | undefined; readonly "node-name": string | undefined },
  env: ProgramHost["env"],
): GivenIdentity {
  const { kubeconfig, "node-name": nodeName } = settings;
  return {
    ...(kubeconfig === undefined || kubeconfig === env.KUBECONFIG ? {} : { kubeconfig }),
    ...(nodeName === undefined ? {} : { nodeName }),
  };
}
