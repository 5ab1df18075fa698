import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import { decorate } from './decorated-object-store.ts';
import { StoreError, type ObjectStore } from './object-store.ts';
import type { StoreCounters } from './store-counters.ts';

export interface Observers {
  readonly logger: Logger;
  readonly counters: StoreCounters;
  readonly clock: Clock;
}

/**
 * Writes a debug line for every request and counts it. The line has `operation`, `bucket`, `key` (a list's prefix),
 * `range` as [first byte, length], `bytes` of content moved, `ms`, and `outcome`: `ok`, the reason of the
 * error, or `abandoned` when it was the caller who ended it.
 *
 * Goes right above the real store, below retry and limit: it then sees each try, and `ms` is the time on the wire.
 */
export function createLoggingObjectStore(store: ObjectStore, observers: Observers): ObjectStore {
  const { logger, counters, clock } = observers;
  return decorate(store, async (request, run, bytesOf) => {
    const { operation, bucket, key, range } = request;
    const started = clock.monotonic();
    const tell = (outcome: string, time: number, bytes?: number): void => {
      const ms = Math.round(time);
      const asked = range && [range.offset, range.length];
      logger.debug({ operation, bucket, key, range: asked, bytes, ms, outcome }, 'store request');
    };
    try {
      const result = await run();
      const bytes = bytesOf(result);
      const ms = clock.monotonic() - started;
      counters.succeeded(request, bytes, ms);
      tell('ok', ms, bytes);
      return result;
    } catch (error) {
      const ms = clock.monotonic() - started;
      if (error instanceof StoreError) {
        counters.failed(request, error.reason, ms);
        tell(error.reason, ms);
      } else {
        counters.abandoned(request);
        tell('abandoned', ms);
      }
      throw error;
    }
  });
}
