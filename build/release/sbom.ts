// The list of what is inside a binary, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). Pure.
import type { BundledPackage } from "../notices.ts";

/** What is listed. */
export interface SbomOptions {
  readonly version: string;
  readonly commit: string;
  readonly epochSeconds: number;
  readonly runtime: { readonly name: string; readonly version: string };
  readonly packages: readonly BundledPackage[];
}

/** The document as JSON text. */
export function renderSbom({ version, commit, epochSeconds, runtime, packages }: SbomOptions): string {
  const libraries = [runtime, ...packages].map(({ name, version }) => ({
    type: "library",
    "bom-ref": `pkg:npm/${packageUrlName(name)}@${version}`,
    name,
    version,
    purl: `pkg:npm/${packageUrlName(name)}@${version}`,
  }));
  const program = `pkg:generic/k3slb@${version}`;
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(epochSeconds * 1000).toISOString(),
      component: {
        type: "application",
        "bom-ref": program,
        name: "k3slb",
        version,
        licenses: [{ license: { id: "Apache-2.0" } }],
        properties: [{ name: "k3slb:commit", value: commit }],
      },
    },
    components: libraries,
    dependencies: [{ ref: program, dependsOn: libraries.map((one) => one["bom-ref"]) }],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** A scope's `@` is `%40` in a package URL (https://github.com/package-url/purl-spec). */
function packageUrlName(name: string): string {
  return name.replace(/^@/, "%40");
}
