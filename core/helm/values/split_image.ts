// A repository with its registry in it, as K3s's documentation writes Traefik's (`image.repository: docker.io/library/traefik`), for charts
// that put a registry of their own before it and would ask for `docker.io/docker.io/…`. Pure.
import { smallYamlParser } from "../../shared/small_yaml.ts";
import { stringifyYaml } from "../../shared/yaml.ts";
import type { HelmChart, HelmChartConfig } from "../helm_chart.ts";

/** On HelmCharts: the chart has a value `image.registry`, so a registry in `image.repository` goes there. */
export const SPLIT_IMAGE_ANNOTATION = "k3slb.io/split-image-registry";

/** Longest image that is looked at. */
const MAX_LENGTH = 4096;

const parseImages = smallYamlParser<object>((value) =>
  typeof value === "object" && value !== null ? value : "no mapping"
);

/** Values that go on top of a HelmChartConfig's; empty if there is nothing to split. What comes by `valuesSecrets` is not looked at. */
export function splitImageValues({ chart, config }: {
  readonly chart: HelmChart;
  readonly config?: HelmChartConfig | undefined;
}): string {
  if (chart.metadata?.annotations?.[SPLIT_IMAGE_ANNOTATION] !== "true") return "";
  const images = [imageIn(config?.spec?.valuesContent), field(config?.spec?.values, "image")];
  const given = (name: string): unknown =>
    images.map((image) => field(image, name)).findLast((one) => one !== undefined);
  const repository = given("repository");
  if (typeof repository !== "string" || repository.length > MAX_LENGTH || given("registry") !== undefined) return "";
  const [registry = "", ...rest] = repository.split("/");
  const isRegistry = /[.:]/.test(registry) || registry === "localhost";
  if (!isRegistry || rest.join("/") === "") return "";
  return stringifyYaml({ image: { registry, repository: rest.join("/") } });
}

/** Only these lines are parsed: values may be a megabyte, which takes seconds. A text that can't be read is helm's to complain about. */
function imageIn(text: string | undefined): unknown {
  const at = text?.search(/^(?:image|"image"|'image') *:/m) ?? -1;
  if (text === undefined || at < 0) return undefined;
  const block = text.slice(at, at + MAX_LENGTH + 1);
  const lines = block.slice(0, /\n(?=[^\s#])/.exec(block)?.index);
  if (lines.length > MAX_LENGTH) return undefined;
  const parsed = parseImages(lines);
  return "value" in parsed ? field(parsed.value, "image") : undefined;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}
