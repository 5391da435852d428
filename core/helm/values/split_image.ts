// A repository with its registry in it, as K3s's documentation writes Traefik's (`image.repository: docker.io/library/traefik`), for charts
// that put a registry of their own before it and would ask for `docker.io/docker.io/…`. Pure.
import { isK3slbError } from "../../shared/errors.ts";
import { parseYaml, stringifyYaml } from "../../shared/yaml.ts";
import type { HelmChart, HelmChartConfig } from "../helm_chart.ts";

/** On HelmCharts: the chart has a value `image.registry`, so a registry in `image.repository` goes there. */
export const SPLIT_IMAGE_ANNOTATION = "k3slb.io/split-image-registry";

/** Values that go on top of a HelmChartConfig's; empty if there is nothing to split. What comes by `valuesSecrets` is not looked at. */
export function splitImageValues({ chart, config }: {
  readonly chart: HelmChart;
  readonly config?: HelmChartConfig | undefined;
}): string {
  if (chart.metadata?.annotations?.[SPLIT_IMAGE_ANNOTATION] !== "true") return "";
  const images = [parsed(config?.spec?.valuesContent), config?.spec?.values].map((values) => field(values, "image"));
  const given = (name: string): unknown =>
    images.map((image) => field(image, name)).findLast((one) => one !== undefined);
  const repository = given("repository");
  if (typeof repository !== "string" || given("registry") !== undefined) return "";
  const match = /^(?<registry>[^/]*[.:][^/]*|localhost)\/(?<rest>.+)$/.exec(repository)?.groups;
  if (match === undefined) return "";
  return stringifyYaml({ image: { registry: match["registry"], repository: match["rest"] } });
}

/** A text that can't be read is helm's to complain about. */
function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : parseYaml(text);
  } catch (error) {
    if (isK3slbError(error, "yaml-invalid")) return undefined;
    throw error;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}
