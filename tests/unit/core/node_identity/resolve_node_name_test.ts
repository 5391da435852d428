// The chain that says which node this is: each source, its order, and what is said when nothing fits.
import assert from "node:assert/strict";
import { isK3slbError } from "../../../../core/shared/errors.ts";
import {
  type NodeNameFacts,
  type NodeSummary,
  resolveNodeName,
} from "../../../../core/node_identity/resolve_node_name.ts";

const HOST: NodeNameFacts = { role: "agent", hostName: "worker-1", machineId: "", systemUuid: "", addresses: [] };

interface Case {
  readonly name: string;
  readonly given: Partial<NodeNameFacts>;
  readonly want: { readonly name: string; readonly source: string } | { readonly error: RegExp; readonly hint: RegExp };
}

const CASES: readonly Case[] = [
  {
    name: "the flag wins over everything",
    given: { flag: "a", env: "b", selfSubjectReviewName: "c" },
    want: { name: "a", source: "flag" },
  },
  {
    name: "the environment wins over the credentials",
    given: { env: "b", selfSubjectReviewName: "c" },
    want: { name: "b", source: "environment" },
  },
  { name: "an empty flag is none", given: { flag: "", env: "b" }, want: { name: "b", source: "environment" } },
  {
    name: "the credentials win over the host name",
    given: { selfSubjectReviewName: "c" },
    want: { name: "c", source: "credentials" },
  },
  { name: "the host name", given: {}, want: { name: "worker-1", source: "host-name" } },
  { name: "upper case is lowered", given: { hostName: "Worker-1" }, want: { name: "worker-1", source: "host-name" } },
  { name: "a given name is lowered, as K3s does it", given: { flag: "NODE" }, want: { name: "node", source: "flag" } },
  {
    name: "an underscore in a given name gets a suggestion",
    given: { flag: "my_node_" },
    want: { error: /--node-name "my_node_" is not a valid node name/, hint: /--node-name=my-node$/ },
  },
  {
    name: "a given name without a Node names the nearest ones",
    given: { flag: "worker-11", nodes: [named("worker-1"), named("worker-2"), named("database")] },
    want: { error: /no Node "worker-11" \(from --node-name\)/, hint: /worker-1, worker-2;/ },
  },
  {
    name: "credentials whose Node is gone are not guessed away",
    given: { selfSubjectReviewName: "gone", hostName: "worker-1", nodes: [named("worker-1")] },
    want: { error: /no Node "gone" \(from the credentials\)/, hint: /--node-name/ },
  },
  ...["localhost", "localhost.localdomain", "LOCALHOST", "(none)", "", "my_host", "-x"].map((hostName) => ({
    name: `host name "${hostName}" is no name, the machine id decides`,
    given: {
      hostName,
      machineId: "abc123",
      nodes: [named("localhost"), named("n1", { machineId: "abc123" }), named("n2")],
    },
    want: { name: "n1", source: "machine" },
  })),
  {
    name: "a host name without a Node gives way to the machine's Node",
    given: { hostName: "ip-10-0-0-1", addresses: ["10.0.0.1"], nodes: [named("n1", { addresses: ["10.0.0.1"] })] },
    want: { name: "n1", source: "machine" },
  },
  {
    name: "the system uuid is compared without regard to case and hyphens",
    given: { hostName: "", systemUuid: "4C4C4544-0001", nodes: [named("n1", { systemUuid: "4c4c45440001" })] },
    want: { name: "n1", source: "machine" },
  },
  {
    name: "clones with one machine id are told apart by address",
    given: {
      hostName: "",
      machineId: "f00",
      addresses: ["fd00::2"],
      nodes: [named("n1", { machineId: "f00" }), named("n2", { machineId: "f00", addresses: ["FD00:0::2"] })],
    },
    want: { name: "n2", source: "machine" },
  },
  {
    name: "two candidates are an error that names both",
    given: {
      hostName: "",
      machineId: "f00",
      nodes: [named("n2", { machineId: "f00" }), named("n1", { machineId: "f00" })],
    },
    want: { error: /2 Nodes fit this machine \(n1, n2\)/, hint: /one of n1, n2 with --node-name/ },
  },
  {
    name: "an id of zeros is no id",
    given: { hostName: "", systemUuid: "0000-0000", nodes: [named("n1", { systemUuid: "0000-0000" })] },
    want: { error: /nothing fits/, hint: /--node-name/ },
  },
  {
    name: "two empty ids are not the same",
    given: { hostName: "", nodes: [named("n1")] },
    want: { error: /nothing fits/, hint: /--node-name/ },
  },
  {
    name: "nothing fits: everything tried is said, and the nearest name",
    given: { hostName: "worker-1", nodes: [named("worker-1.example.org"), named("database")] },
    want: {
      error:
        /--node-name: not given; K3S_NODE_NAME: not given; credentials: .*; host name "worker-1": no such Node; machine id/,
      hint: /one of worker-1.example.org with/,
    },
  },
  {
    name: "Nodes that can't be listed are said to be so",
    given: { hostName: "localhost" },
    want: { error: /the Nodes can't be listed/, hint: /--node-name/ },
  },
  {
    name: "a server needs no Node",
    given: { role: "server", flag: "anything", nodes: [] },
    want: { name: "anything", source: "flag" },
  },
  {
    name: "a server without a name has its machine id",
    given: { role: "server", hostName: "localhost", machineId: "0123456789ABCDEF" },
    want: { name: "host-0123456789ab", source: "fallback" },
  },
  {
    name: "a server without anything says so",
    given: { role: "server", hostName: "localhost" },
    want: { error: /Cannot tell which node this is/, hint: /--node-name/ },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`resolveNodeName: ${name}`, () => {
    const resolve = (): ReturnType<typeof resolveNodeName> => resolveNodeName({ ...HOST, ...given });
    if ("error" in want) {
      assert.throws(resolve, (error) => {
        assert.ok(isK3slbError(error, "node-name-unknown"));
        assert.match(error.message, want.error);
        assert.match(error.hint ?? "", want.hint);
        return true;
      });
    } else {
      const { name: found, source } = resolve();
      assert.deepEqual({ name: found, source }, want);
    }
  });
}

Deno.test("resolveNodeName: says what a corrected name was made from", () => {
  assert.equal(resolveNodeName({ ...HOST, flag: "NODE" }).correctedFrom, "NODE");
  assert.equal(resolveNodeName({ ...HOST, flag: "node" }).correctedFrom, undefined);
});

function named(name: string, more: Partial<NodeSummary> = {}): NodeSummary {
  return { name, machineId: "", systemUuid: "", addresses: [], ...more };
}
