import { equal, match, ok } from "node:assert/strict";
import { readLocal } from "../../../../cli/dump/read_local.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";

Deno.test("readLocal: our rules alone, the ends of logs, and what is missing said in its place", async () => {
  const files = await readLocal({
    run: (program, args) => {
      if (program === "nft") throw new K3slbError('"nft" is not installed', { code: "command-missing" });
      if (program === "uname") return Promise.resolve({ code: 1, stdout: "", stderr: "no" });
      const stdout = program === "iptables-nft-save"
        ? "*nat\n:KUBE-X - [0:0]\n-A PREROUTING -j K3SLB-SERVICES\n-A KUBE-X -j ACCEPT\nCOMMIT\n"
        : `${program} ${args.join(" ")}\n`;
      return Promise.resolve({ code: 0, stdout, stderr: "" });
    },
  }, new AbortController().signal);
  const textOf = (path: string): string => files.find((file) => file.path === path)?.text ?? "?";
  equal(textOf("host/iptables-nft.txt"), "*nat\n-A PREROUTING -j K3SLB-SERVICES\nCOMMIT");
  match(textOf("host/chains.txt"), /"nft" is not installed/);
  match(textOf("host/kernel.txt"), /exit code 1/);
  match(textOf("logs/k3slb-agent.txt"), /journalctl .* -u k3slb-agent/);
  ok(files.every(({ text }) => text !== "?"));
});
