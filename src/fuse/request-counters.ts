import { type LatencyCounts, LatencyHistogram } from '../latency-histogram.ts';

/**
 * The kernel's requests by kind: those that there were, in lower case, such as `lookup`, `getattr` and `read`. Their time
 * is the one from receiving a request to the end of all that it has caused, which is its reply but for what is interrupted.
 */
export type RequestCounts = Readonly<Record<string, LatencyCounts>>;

/** Counts the requests of the kernel. */
export class RequestCounters {
  readonly #kinds = new Map<string, LatencyHistogram>();

  /** A request of a kind has ended after so many milliseconds. */
  count(kind: string, ms: number): void {
    let latency = this.#kinds.get(kind);
    if (!latency) this.#kinds.set(kind, (latency = new LatencyHistogram()));
    latency.observe(ms);
  }

  /** The counts as they are now. */
  snapshot(): RequestCounts {
    return Object.fromEntries(Array.from(this.#kinds, ([kind, latency]) => [kind, latency.snapshot()]));
  }
}
