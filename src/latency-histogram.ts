/**
 * The upper bounds of a histogram's slots in milliseconds, each included in its slot; what takes longer than the last
 * has a slot of its own. In steps of two to two and a half, from what the memory answers to the longest silence of a
 * connection that is waited for.
 */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000,
];

/** How long things took, since the start or within a time; plain data that survives JSON. */
export interface LatencyCounts {
  readonly count: number;
  /** Of all together, in milliseconds. */
  readonly sumMs: number;
  /** How many took so long: one for each of {@link LATENCY_BOUNDS_MS}, and one for what took longer. */
  readonly counts: readonly number[];
}

/** Counts how long things take. To observe allocates nothing and takes some nanoseconds. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(LATENCY_BOUNDS_MS.length + 1);
  #sumMs = 0;

  /** @param ms milliseconds, 0 or more */
  observe(ms: number): void {
    let slot = 0;
    while (slot < LATENCY_BOUNDS_MS.length && ms > (LATENCY_BOUNDS_MS[slot] ?? 0)) slot += 1;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + 1;
    this.#sumMs += ms;
  }

  /** The counts as they are now. */
  snapshot(): LatencyCounts {
    const counts = [...this.#counts];
    return { count: counts.reduce((sum, count) => sum + count, 0), sumMs: this.#sumMs, counts };
  }
}

/** What several histograms have counted together. */
export function sumOfLatencies(all: readonly LatencyCounts[]): LatencyCounts {
  const counts = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, (_, slot) =>
    all.reduce((sum, each) => sum + (each.counts[slot] ?? 0), 0),
  );
  return {
    count: all.reduce((sum, { count }) => sum + count, 0),
    sumMs: all.reduce((sum, { sumMs }) => sum + sumMs, 0),
    counts,
  };
}

/** What a histogram has counted from an earlier look at it to a later one; all of it where there was none. */
export function latenciesSince(earlier: LatencyCounts | undefined, later: LatencyCounts): LatencyCounts {
  if (earlier === undefined) return later;
  return {
    count: later.count - earlier.count,
    sumMs: later.sumMs - earlier.sumMs,
    counts: later.counts.map((count, slot) => count - (earlier.counts[slot] ?? 0)),
  };
}

/**
 * An estimate of the time within which a part of all ended: as if those of a slot were spread evenly over it. It is in
 * the slot of the true value, or the highest bound where that took longer.
 *
 * @param part from 0 to 1: 0.5 for the median
 * @returns milliseconds; undefined when nothing was counted
 */
export function latencyQuantileMs({ count, counts }: LatencyCounts, part: number): number | undefined {
  if (count === 0) return undefined;
  // The one of that rank: the median of three is the second.
  const rank = Math.max(1, Math.ceil(part * count));
  let below = 0;
  for (const [slot, upper] of LATENCY_BOUNDS_MS.entries()) {
    const within = counts[slot] ?? 0;
    if (below + within >= rank) {
      const lower = LATENCY_BOUNDS_MS[slot - 1] ?? 0;
      return lower + (upper - lower) * ((rank - below) / within);
    }
    below += within;
  }
  return LATENCY_BOUNDS_MS.at(-1);
}
