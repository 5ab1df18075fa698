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
  return decorate(store, async ({ operation, bucket, key, range }, run, bytesOf) => {
    const started = clock.monotonic();
    const tell = (outcome: string, bytes?: number): void => {
      const ms = Math.round(clock.monotonic() - started);
      const asked = range && [range.offset, range.length];
      logger.debug({ operation, bucket, key, range: asked, bytes, ms, outcome }, 'store request');
    };
    try {
      const result = await run();
      const bytes = bytesOf(result);
      counters.succeeded(operation, bytes);
      tell('ok', bytes);
      return result;
    } catch (error) {
      if (error instanceof StoreError) {
        counters.failed(operation, error.reason);
        tell(error.reason);
      } else {
        counters.abandoned(operation);
        tell('abandoned');
      }
      throw error;
    }
  });
}
