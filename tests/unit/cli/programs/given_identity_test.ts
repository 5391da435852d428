// Which of the given credentials and names reach the programs.
import assert from "node:assert/strict";
import { givenIdentity } from "../../../../cli/programs/given_identity.ts";

type Given = Parameters<typeof givenIdentity>;

const CASES: readonly {
  readonly name: string;
  readonly given: Given;
  readonly want: ReturnType<typeof givenIdentity>;
}[] = [
  { name: "nothing given", given: [{ kubeconfig: undefined, "node-name": undefined }], want: {} },
  {
    name: "both given",
    given: [{ kubeconfig: "/a", "node-name": "n" }],
    want: { kubeconfig: "/a", nodeName: "n" },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`givenIdentity: ${name}`, () => assert.deepEqual(givenIdentity(...given), want));
}
