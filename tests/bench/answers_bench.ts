// How long somebody waits for an answer: the binary from its start to its end, against an API server in memory with TLS, 300 Services on 20 nodes.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCertificateAuthority } from "../support/certificates.ts";
import { fillApi } from "../support/filled_api.ts";
import { startMemoryApi } from "../support/memory_api/memory_api.ts";
import { execHere } from "../support/netns.ts";
import type { BenchContext } from "./bench_context.ts";
import { duration, type Figure, judged } from "./report.ts";
import { median } from "./stats.ts";

const COMMANDS: readonly { readonly words: readonly string[]; readonly budgetMs?: number }[] = [
  { words: ["explain", "default/web7"], budgetMs: 500 },
  { words: ["ports"] },
  { words: ["status"] },
];

/** Times each command, and counts its requests. */
export async function benchAnswers(context: BenchContext): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "k3slb-answers-"));
  const api = await startMemoryApi({ controllers: [], authority: await createCertificateAuthority(join(dir, "pki")) });
  try {
    fillApi(api, { services: 300, nodes: 20, served: true });
    const kubeconfig = join(dir, "kubeconfig");
    writeFileSync(kubeconfig, await api.kubeconfig("admin"));
    const figures: Figure[] = [];
    for (const { words, budgetMs } of COMMANDS) {
      const before = requests(api);
      const times: number[] = [];
      for (let i = 0; i < (context.quick ? 3 : 15); i++) {
        const startMs = performance.now();
        const { code, stderr } = await execHere(context.program, [...words, "--kubeconfig", kubeconfig]);
        if (code !== 0) throw new Error(`k3slb ${words.join(" ")}: ${stderr}`);
        times.push(performance.now() - startMs);
      }
      const each = (requests(api) - before) / times.length;
      const figure: Figure = {
        what: `\`k3slb ${words[0]}\`, 300 Services x 20 nodes`,
        value: duration(median(times)),
        detail: `${duration(Math.min(...times))} to ${duration(Math.max(...times))}, ${each} requests`,
        count: times.length,
      };
      const budget = { value: budgetMs ?? 0, direction: "at most", unit: "ms" } as const;
      figures.push(budgetMs === undefined ? figure : judged(figure, median(times), budget));
    }
    context.figures(figures);
  } finally {
    await api.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function requests(api: Awaited<ReturnType<typeof startMemoryApi>>): number {
  return api.requests.list().reduce((sum, { count }) => sum + count, 0);
}
