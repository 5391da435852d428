// Numbers of a benchmark: medians, percentiles and ratios between things measured side by side. Pure.

/** The middle value; the mean of the middle two of an even count. `NaN` of nothing. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value below which a share of all lies, with linear steps between. `NaN` of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low === undefined || high === undefined ? NaN : low + (high - low) * (at - Math.floor(at));
}

/** The median of `values[i] / reference[i]`: what was measured right after one another is compared, so that slow drift cancels out. */
export function pairedRatio(values: readonly number[], reference: readonly number[]): number {
  return median(values.flatMap((value, i) => {
    const other = reference[i];
    return other === undefined || other === 0 ? [] : [value / other];
  }));
}

/** The same items in a random order. */
export function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  return items.map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}
