// Charts in `server/static/charts` of the data folder: a reference to the API server's static files is answered from there, as only
// K3s's own API server serves them. The chart then travels inline.
import { isNoSuchFile } from "../../shared/errors.ts";
import { chartsFolder } from "../../shared/k3s_names.ts";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HelmChart } from "../helm_chart.ts";
import { CHART_URL_ANNOTATION } from "../names.ts";

const REFERENCE_REGEXP = /^https?:\/\/%\{KUBERNETES_API\}%\/static\/charts\/([A-Za-z0-9._+-]+\.tgz)$/;

interface CachedChart {
  /** Name, size and time of the file. */
  readonly stamp: string;
  readonly content: string;
}

/** Reads charts, for each HelmChart its file once for each change of it. */
export class StaticCharts {
  readonly #folder: string;
  /** By `namespace/name` of the HelmChart. */
  readonly #cache = new Map<string, CachedChart>();

  constructor(dataDir: string) {
    this.#folder = chartsFolder(dataDir);
  }

  /** The chart with its archive inside, or as it is if it names no static file or the file is not there. */
  async resolve(chart: HelmChart): Promise<HelmChart> {
    const url = chart.spec?.chart ?? "";
    const name = chart.spec?.chartContent ? undefined : REFERENCE_REGEXP.exec(url)?.[1];
    const { metadata } = chart;
    const key = `${metadata?.namespace}/${metadata?.name}`;
    const chartContent = name === undefined ? undefined : await this.#read(key, name);
    if (chartContent === undefined) {
      this.forget(key);
      return chart;
    }
    const annotations = { ...metadata?.annotations, [CHART_URL_ANNOTATION]: url };
    return { ...chart, metadata: { ...metadata, annotations }, spec: { ...chart.spec, chartContent } };
  }

  /** Forgets what was read for the HelmChart `key`, `namespace/name`. */
  forget(key: string): void {
    this.#cache.delete(key);
  }

  async #read(key: string, name: string): Promise<string | undefined> {
    const path = join(this.#folder, name);
    try {
      const { size, mtimeMs } = await stat(path);
      const stamp = `${name} ${size} ${mtimeMs}`;
      const cached = this.#cache.get(key);
      if (cached?.stamp === stamp) return cached.content;
      const content = (await readFile(path)).toString("base64");
      this.#cache.set(key, { stamp, content });
      return content;
    } catch (error) {
      if (isNoSuchFile(error)) return undefined;
      throw error;
    }
  }
}
