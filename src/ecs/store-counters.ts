import { type LatencyCounts, LatencyHistogram } from '../latency-histogram.ts';
import type { StoreOperation, StoreRequest } from './decorated-object-store.ts';
import type { StoreErrorReason } from './object-store.ts';

/** Sums since the start, as `status` shows them. */
export interface StoreCounts {
  /** Requests sent to the store by kind, repetitions included, whatever came of them. */
  readonly requests: Readonly<Record<StoreOperation, number>>;
  /** Content of objects that arrived whole, in bytes. */
  readonly bytesRead: number;
  /** Content of objects that were stored, in bytes. */
  readonly bytesWritten: number;
  /** Requests that failed, by reason; absent where none did. */
  readonly errors: Readonly<Partial<Record<StoreErrorReason, number>>>;
  /** Requests that their caller ended: by its signal, or since its stream or its credentials failed. */
  readonly abandoned: number;
  /** Requests that were repeats of failed ones. */
  readonly retries: number;
  /** The same by bucket and kind, of which there was a request; in no order. */
  readonly operations: readonly OperationCounts[];
}

/** What became of the requests of one kind to one bucket, as {@link StoreCounts} has it for all. */
export interface OperationCounts extends Omit<StoreCounts, 'requests' | 'operations'> {
  readonly bucket: string;
  readonly operation: StoreOperation;
  readonly requests: number;
  /** From sending a request to its whole answer, of those that were not abandoned. */
  readonly latency: LatencyCounts;
}

/** The kind of a request, and where it goes. */
type Kind = Pick<StoreRequest, 'bucket' | 'operation'>;

/** Counts what goes over the wire; the stores of several buckets may share one. */
export class StoreCounters {
  readonly #buckets = new Map<string, Map<StoreOperation, OperationCounter>>();

  /** A request that did what it was asked in so many milliseconds, and moved so many bytes of content. */
  succeeded(kind: Kind, bytes: number, ms: number): void {
    const counter = this.#of(kind);
    counter.requests++;
    counter.bytes += bytes;
    counter.latency.observe(ms);
  }

  failed(kind: Kind, reason: StoreErrorReason, ms: number): void {
    const counter = this.#of(kind);
    counter.requests++;
    counter.errors[reason] = (counter.errors[reason] ?? 0) + 1;
    counter.latency.observe(ms);
  }

  abandoned(kind: Kind): void {
    const counter = this.#of(kind);
    counter.requests++;
    counter.abandoned++;
  }

  /** For `onRetry` of the retrying store. */
  retried(kind: Kind): void {
    this.#of(kind).retries++;
  }

  /** The counts as they are now. */
  snapshot(): StoreCounts {
    const operations = Array.from(this.#buckets, ([bucket, counters]) =>
      Array.from(counters, ([operation, counter]) => counter.snapshot({ bucket, operation })),
    ).flat();
    const requests = { ...NO_REQUESTS };
    const errors: Partial<Record<StoreErrorReason, number>> = {};
    const sum = { bytesRead: 0, bytesWritten: 0, abandoned: 0, retries: 0 };
    for (const each of operations) {
      requests[each.operation] += each.requests;
      for (const [reason, count] of entries(each.errors)) errors[reason] = (errors[reason] ?? 0) + count;
      sum.bytesRead += each.bytesRead;
      sum.bytesWritten += each.bytesWritten;
      sum.abandoned += each.abandoned;
      sum.retries += each.retries;
    }
    return { requests, errors, ...sum, operations };
  }

  #of({ bucket, operation }: Kind): OperationCounter {
    let counters = this.#buckets.get(bucket);
    if (!counters) this.#buckets.set(bucket, (counters = new Map()));
    let counter = counters.get(operation);
    if (!counter) counters.set(operation, (counter = new OperationCounter()));
    return counter;
  }
}

class OperationCounter {
  requests = 0;
  bytes = 0;
  abandoned = 0;
  retries = 0;
  readonly errors: Partial<Record<StoreErrorReason, number>> = {};
  readonly latency = new LatencyHistogram();

  snapshot(kind: Kind): OperationCounts {
    const isWrite = kind.operation === 'put' || kind.operation === 'putPart';
    return {
      ...kind,
      requests: this.requests,
      bytesRead: isWrite ? 0 : this.bytes,
      bytesWritten: isWrite ? this.bytes : 0,
      errors: { ...this.errors },
      abandoned: this.abandoned,
      retries: this.retries,
      latency: this.latency.snapshot(),
    };
  }
}

/** For counting requests: one zero for each operation. */
export const NO_REQUESTS: Readonly<Record<StoreOperation, number>> = {
  getRange: 0,
  get: 0,
  head: 0,
  listPage: 0,
  put: 0,
  delete: 0,
  createUpload: 0,
  putPart: 0,
  completeUpload: 0,
  abortUpload: 0,
  listUploads: 0,
};

function entries(
  errors: Readonly<Partial<Record<StoreErrorReason, number>>>,
): readonly [StoreErrorReason, number][] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is counted has no other keys
  return Object.entries(errors) as [StoreErrorReason, number][];
}
