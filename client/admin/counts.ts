// What the server counted since its start, between two moments.

/** How often something happened, by reason. */
export type Counts = Map<string, number>;

/** How many took no longer than this, in seconds, and longer than the class before. */
export interface Class {
  upTo: number | null;
  count: number;
}

/** By how much each count rose. */
export function rise(before: Record<string, number>, now: Record<string, number>): Counts {
  const earlier = new Map(Object.entries(before));
  const rises = Object.entries(now).map(([reason, count]) => [reason, count - (earlier.get(reason) ?? 0)] as const);
  return new Map(rises.filter(([, more]) => more > 0));
}

/**
 * What a `share` of those that came between two moments did not exceed; null where none
 * came. Within a class they are taken for evenly spread.
 */
export function quantile(before: Class[], now: Class[], share: number): number | null {
  const classes = now.map(({ upTo, count }, n) => ({ upTo, count: count - (before[n]?.count ?? 0) }));
  const wanted = share * classes.reduce((sum, { count }) => sum + count, 0);
  if (wanted <= 0) return null;
  let [from, below] = [0, 0];
  for (const { upTo, count } of classes) {
    // Above the last bound nothing is known but that.
    const to = upTo ?? from;
    if (count > 0 && below + count >= wanted) return from + (to - from) * (wanted - below) / count;
    [from, below] = [to, below + count];
  }
  return from;
}
