// What a wish said before it became unreadable, and where that is remembered: in the object that a program keeps, from one version to the
// next, and beyond its end in an annotation that the server writes while a wish is unreadable. Pure.
import type { Service } from "../kube/types.ts";
import { compareText } from "../shared/compare_text.ts";
import { LAST_GOOD_ANNOTATION } from "./labels.ts";
import { lastGoodTexts, readService } from "./reading.ts";

/**
 * `service`, with what was in force in the version before written into its record where its own texts can't be read and its record does not say.
 *
 * @param kept The Services as they are known until now
 */
export function keepLastGood(service: Service, kept: ReadonlyMap<string, Service>): Service {
  const { unreadable, key } = readService(service);
  const before = kept.get(key);
  if (before === undefined || unreadable.length === 0 || before.metadata?.uid !== service.metadata?.uid) return service;
  const recorded = lastGoodTexts(service);
  const { inForce } = readService(before);
  const texts = new Map(recorded);
  for (const name of unreadable) {
    const text = inForce.get(name);
    if (text !== undefined && !recorded.has(name)) texts.set(name, text);
  }
  if (texts.size === recorded.size) return service;
  const annotations = { ...service.metadata?.annotations, [LAST_GOOD_ANNOTATION]: renderRecord(texts) };
  return { ...service, metadata: { ...service.metadata, annotations } };
}

/** The record that `service` should carry; `undefined` while everything can be read. */
export function lastGoodRecord(service: Service): string | undefined {
  const { unreadable, inForce } = readService(service);
  const texts = new Map(unreadable.flatMap((name): [string, string][] => {
    const text = inForce.get(name);
    return text === undefined ? [] : [[name, text]];
  }));
  return texts.size === 0 ? undefined : renderRecord(texts);
}

/** Whether `service` carries a record, needed or not. */
export function hasLastGoodRecord(service: Service): boolean {
  return service.metadata?.annotations?.[LAST_GOOD_ANNOTATION] !== undefined;
}

function renderRecord(texts: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries([...texts].toSorted(([a], [b]) => compareText(a, b))));
}
