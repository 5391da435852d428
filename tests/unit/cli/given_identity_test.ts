// Which of the given credentials and names reach the programs.
import assert from "node:assert/strict";
import { givenIdentity } from "../../../cli/given_identity.ts";

type Given = Parameters<typeof givenIdentity>;

const CASES: readonly {
  readonly name: string;
  readonly given: Given;
  readonly want: ReturnType<typeof givenIdentity>;
}[] = [
  { name: "nothing given", given: [{ kubeconfig: undefined, "node-name": undefined }, {}], want: {} },
  {
    name: "both given",
    given: [{ kubeconfig: "/a", "node-name": "n" }, { KUBECONFIG: "/b" }],
    want: { kubeconfig: "/a", nodeName: "n" },
  },
  {
    name: "KUBECONFIG may name several files and is read by the one who reads them",
    given: [{ kubeconfig: "/a:/b", "node-name": undefined }, { KUBECONFIG: "/a:/b" }],
    want: {},
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`givenIdentity: ${name}`, () => assert.deepEqual(givenIdentity(...given), want));
}
