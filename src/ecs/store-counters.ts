import type { StoreOperation } from './decorated-object-store.ts';
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
}

/** Counts what goes over the wire; the stores of several buckets may share one. */
export class StoreCounters {
  readonly #requests: Record<StoreOperation, number> = {
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
  readonly #errors: Partial<Record<StoreErrorReason, number>> = {};
  #bytesRead = 0;
  #bytesWritten = 0;
  #abandoned = 0;
  #retries = 0;

  /** A request that did what it was asked and moved so many bytes of content. */
  succeeded(operation: StoreOperation, bytes: number): void {
    this.#requests[operation]++;
    if (operation === 'put' || operation === 'putPart') this.#bytesWritten += bytes;
    else this.#bytesRead += bytes;
  }

  failed(operation: StoreOperation, reason: StoreErrorReason): void {
    this.#requests[operation]++;
    this.#errors[reason] = (this.#errors[reason] ?? 0) + 1;
  }

  abandoned(operation: StoreOperation): void {
    this.#requests[operation]++;
    this.#abandoned++;
  }

  /** For `onRetry` of the retrying store. */
  retried(): void {
    this.#retries++;
  }

  /** The counts as they are now. */
  snapshot(): StoreCounts {
    return {
      requests: { ...this.#requests },
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      errors: { ...this.#errors },
      abandoned: this.#abandoned,
      retries: this.#retries,
    };
  }
}
