import { STORE_REQUESTS_MAX, STORE_REQUESTS_RESERVED } from '../limits.ts';
import { decorate } from './decorated-object-store.ts';
import type { ObjectStore, Priority } from './object-store.ts';

export interface RequestLimits {
  /** Requests at once; default {@link STORE_REQUESTS_MAX}. */
  readonly max?: number;
  /** Of these, so many that background requests never take; default {@link STORE_REQUESTS_RESERVED}. */
  readonly reserved?: number;
}

/** How busy a limiter is, in requests. */
export interface QueueDepth {
  readonly running: number;
  readonly waiting: Readonly<Record<Priority, number>>;
}

/**
 * Bounds the requests that run at once, over all the stores that share it. A free slot goes to the request of the
 * highest class, and within a class to the one that has waited longest. Background requests together never take
 * the reserved slots, so a reader does not wait for more than its own kind.
 */
export class RequestLimiter {
  readonly #max: number;
  readonly #backgroundMax: number;
  #running = 0;
  #backgroundRunning = 0;
  /** Sets keep the order of insertion, and a request that gives up leaves at once. */
  readonly #waiting: Readonly<Record<Priority, Set<() => void>>> = {
    read: new Set(),
    metadata: new Set(),
    background: new Set(),
  };

  constructor({ max = STORE_REQUESTS_MAX, reserved = STORE_REQUESTS_RESERVED }: RequestLimits = {}) {
    this.#max = max;
    this.#backgroundMax = max - reserved;
  }

  get depth(): QueueDepth {
    const { read, metadata, background } = this.#waiting;
    return {
      running: this.#running,
      waiting: { read: read.size, metadata: metadata.size, background: background.size },
    };
  }

  /**
   * Runs a task as soon as it has a slot, and frees the slot when the task has settled.
   *
   * @param signal a task still waiting is dropped unrun, and the signal's reason thrown; one that runs sees to
   * the signal itself
   */
  async run<T>(priority: Priority, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    if (this.#hasSlotFor(priority)) this.#take(priority);
    else await this.#wait(priority, signal);
    try {
      return await task();
    } finally {
      this.#release(priority);
    }
  }

  /** Resolves when the slot is already taken, so nobody can get in between. */
  #wait(priority: Priority, signal: AbortSignal | undefined): Promise<void> {
    const waiting = this.#waiting[priority];
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal?.removeEventListener('abort', giveUp);
        this.#take(priority);
        resolve();
      };
      const giveUp = (): void => {
        waiting.delete(start);
        reject(signal?.reason);
      };
      waiting.add(start);
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  #hasSlotFor(priority: Priority): boolean {
    if (this.#running >= this.#max) return false;
    return priority !== 'background' || this.#backgroundRunning < this.#backgroundMax;
  }

  #take(priority: Priority): void {
    this.#running++;
    if (priority === 'background') this.#backgroundRunning++;
  }

  #release(priority: Priority): void {
    this.#running--;
    if (priority === 'background') this.#backgroundRunning--;
    for (const next of ['read', 'metadata', 'background'] as const) {
      for (const start of this.#waiting[next]) {
        if (!this.#hasSlotFor(next)) break;
        this.#waiting[next].delete(start);
        start();
      }
    }
  }
}

/** A store whose requests wait for a slot of the limiter, which the stores of several buckets may share. */
export function createLimitingObjectStore(store: ObjectStore, limiter: RequestLimiter): ObjectStore {
  return decorate(store, ({ options }, run) =>
    limiter.run(options.priority ?? 'metadata', options.signal, run),
  );
}
