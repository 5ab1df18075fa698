import PQueue from 'p-queue';
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

const PRIORITIES: Readonly<Record<Priority, number>> = { read: 2, metadata: 1, background: 0 };

/**
 * Bounds the requests that run at once, over all the stores that share it. A free slot goes to the request of the
 * highest class, and within a class to the one that has waited longest. Background requests together never take
 * the reserved slots, so a reader does not wait for more than its own kind.
 */
export class RequestLimiter {
  readonly #all: PQueue;
  /** Background requests pass through here first. */
  readonly #background: PQueue;

  constructor({ max = STORE_REQUESTS_MAX, reserved = STORE_REQUESTS_RESERVED }: RequestLimits = {}) {
    this.#all = new PQueue({ concurrency: max });
    this.#background = new PQueue({ concurrency: max - reserved });
  }

  get depth(): QueueDepth {
    const waiting = (priority: Priority): number => this.#all.sizeBy({ priority: PRIORITIES[priority] });
    return {
      running: this.#all.pending,
      waiting: {
        read: waiting('read'),
        metadata: waiting('metadata'),
        background: waiting('background') + this.#background.size,
      },
    };
  }

  /**
   * Runs a task as soon as it has a slot, and frees the slot when the task has settled.
   *
   * @param signal a task still waiting is dropped unrun, and the signal's reason thrown; one that runs sees to
   * the signal itself
   * @param promotion a background task that still waits when it aborts goes on to wait as a read
   */
  async run<T>(
    priority: Priority,
    signal: AbortSignal | undefined,
    task: () => Promise<T>,
    promotion?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    if (priority !== 'background') return whenItsTurn(this.#all, PRIORITIES[priority], signal, task);
    if (promotion?.aborted) return this.run('read', signal, task);
    let hasStarted = false;
    const start = (): Promise<T> => {
      hasStarted = true;
      return task();
    };
    const waiting = signal && promotion ? AbortSignal.any([signal, promotion]) : (signal ?? promotion);
    try {
      return await whenItsTurn(this.#background, 0, waiting, () =>
        whenItsTurn(this.#all, PRIORITIES.background, waiting, start),
      );
    } catch (error) {
      if (hasStarted || !promotion?.aborted) throw error;
      return this.run('read', signal, task);
    }
  }
}

/**
 * The queue hears of an abort only as long as the task waits: it would free the slot of a task that runs, which may
 * still be busy with the caller's buffers.
 */
async function whenItsTurn<T>(
  queue: PQueue,
  priority: number,
  signal: AbortSignal | undefined,
  task: () => Promise<T>,
): Promise<T> {
  if (!signal) return queue.add(task, { priority });
  const waiting = new AbortController();
  const giveUp = (): void => waiting.abort(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  const start = (): Promise<T> => {
    signal.removeEventListener('abort', giveUp);
    return task();
  };
  return queue.add(start, { priority, signal: waiting.signal });
}

/** A store whose requests wait for a slot of the limiter, which the stores of several buckets may share. */
export function createLimitingObjectStore(store: ObjectStore, limiter: RequestLimiter): ObjectStore {
  return decorate(store, ({ options }, run) =>
    limiter.run(options.priority ?? 'metadata', options.signal, run, options.promotion),
  );
}
