// The TypeScript types of HelmChart and HelmChartConfig, made from the CRDs by kubernetes-fluent-client's generator.
// Run `deno run -A tests/support/helm_types.ts` after a change of core/helm/crds.ts; a unit test compares.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HELM_CHART_CONFIG_CRD, HELM_CHART_CRD } from "../../core/helm/crds.ts";
import { stringifyYaml } from "../../core/shared/yaml.ts";

const GENERATOR = fileURLToPath(new URL("../../node_modules/kubernetes-fluent-client/dist/cli.js", import.meta.url));
const FOLDER = new URL("../../core/helm/", import.meta.url);
const HEAD =
  "// Made from core/helm/crds.ts by tests/support/helm_types.ts with kubernetes-fluent-client. Never edit it.\n" +
  "// deno-fmt-ignore-file\n";

/** Files by name, as they should be in core/helm. */
export type GeneratedFiles = Readonly<Record<string, string>>;

/** The files to be in `core/helm`, or why they can't be made. */
export function generateHelmTypes(): { readonly files: GeneratedFiles } | { readonly missing: string } {
  const dir = mkdtempSync(join(tmpdir(), "helm-types-"));
  try {
    const crds = [HELM_CHART_CRD, HELM_CHART_CONFIG_CRD];
    writeFileSync(join(dir, "crds.yaml"), crds.map(stringifyYaml).join("---\n"));
    const made = spawnSync("node", [GENERATOR, "crd", "--plain", join(dir, "crds.yaml"), dir], { encoding: "utf8" });
    if (made.status !== 0) return { missing: made.error?.message ?? made.stderr };
    const read = (name: string): string => tidy(readFileSync(join(dir, name), "utf8"));
    return {
      files: {
        "helm_chart.generated.ts": read("helmchart-v1.ts"),
        "helm_chart_config.generated.ts": read("helmchartconfig-v1.ts"),
      },
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Under our own first lines, without the descriptions, which the CRDs have, and with the type of open values that must be looked at before use. */
function tidy(text: string): string {
  const bare = text.replaceAll(/^\/\/.*\n|^ *\/\*\*[^]*?\*\/\n/gm, "").replaceAll(/\bany\b/g, "unknown");
  return `${HEAD}\n${bare.trim()}\n`;
}

/** Where a generated file is. */
export function generatedFile(name: string): URL {
  return new URL(name, FOLDER);
}

if (import.meta.main) {
  const made = generateHelmTypes();
  if ("missing" in made) throw new Error(`The generator can't run: ${made.missing}`);
  for (const [name, text] of Object.entries(made.files)) writeFileSync(generatedFile(name), text);
}
