// Large `spec.values` as text, by a thread: sorting and quoting a megabyte of them would hold up the loop.
import { parseJson } from "../../kube/json.ts";
import { asideTask } from "../../runtime/aside.ts";
import type { ValuesOwners } from "./values_files.ts";
import { isTextKnown, keepText } from "./values_text.ts";
import { renderValuesYaml } from "./values_yaml.ts";

/** What is written in place, in characters of JSON. */
const MOST_IN_PLACE = 16 * 1024;
/** 1 MiB takes a fifth of a second. */
const TIMEOUT_MS = 30_000;

const renderLarge = asideTask<string, string>({
  name: "write values",
  url: import.meta.url,
  timeoutMs: TIMEOUT_MS,
  work: (json) => [renderValuesYaml(parseJson(json))],
});

/** Has the texts written before a plan asks for them. */
export async function prepareValues({ chart, config }: ValuesOwners, signal: AbortSignal): Promise<void> {
  for (const values of [chart.spec?.values, config?.spec?.values]) {
    if (values === undefined || values === null || isTextKnown(values)) continue;
    const json = JSON.stringify(values);
    if (json.length <= MOST_IN_PLACE) continue;
    const writing = renderLarge(json, signal);
    const write = await writing.then(([text = ""]) => () => text, (error: unknown) => () => {
      throw error;
    });
    keepText(values, write);
  }
}
