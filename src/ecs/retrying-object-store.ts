import type { Clock } from '../clock.ts';
import {
  RETRY_AFTER_MAX_MS,
  RETRY_DELAY_MAX_MS,
  RETRY_DELAY_MIN_MS,
  SHORT_TRIES_MAX,
  STORE_TRIES_MAX,
} from '../limits.ts';
import { confirmedCompletion, confirmedPut } from './confirmed-writes.ts';
import { type Around, decorate, type StoreRequest } from './decorated-object-store.ts';
import { StoreError, type ObjectStore, type StoreErrorReason } from './object-store.ts';

export interface RetryOptions {
  readonly clock: Clock;
  /** Tries of one request, the first included; default {@link STORE_TRIES_MAX}. */
  readonly tries?: number;
  /** The longest wait that a store may ask for with Retry-After, in milliseconds; default {@link RETRY_AFTER_MAX_MS}. */
  readonly retryAfterMaxMs?: number;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
  /** Called before every wait. `tries` counts those that have failed; `delayMs` is how long the wait will be. */
  readonly onRetry?: (request: StoreRequest, error: StoreError, tries: number, delayMs: number) => void;
}

/**
 * Repeats requests that failed for a reason that may pass, and gives up with the last error. That an object ends before
 * the range is believed when it was answered {@link SHORT_TRIES_MAX} times. The wait before each repetition is random
 * below a ceiling that doubles ("full jitter"), so that clients which failed together do not come back together. A wait
 * that the store asks for comes on top. An abort ends the wait.
 *
 * What is written is not sent again before a look whether the store has it by now, see {@link confirmedPut}.
 *
 * Everything is repeated but a put with `ifNoneMatch` whose first try may have stored the object unseen: the second
 * would find it and report that it was there before.
 *
 * Goes above the limiter, `retrying(limiting(logging(store)))`: a request that waits for its next try then holds no
 * slot, and queues again with its priority.
 */
export function createRetryingObjectStore(store: ObjectStore, options: RetryOptions): ObjectStore {
  const { clock, tries = STORE_TRIES_MAX, random = Math.random, onRetry } = options;
  const { retryAfterMaxMs = RETRY_AFTER_MAX_MS } = options;
  const retrying: Around = async (request, run) => {
    const { signal } = request.options;
    /** Tries that were answered as if the object ended before the range. */
    let short = 0;
    for (let failed = 1; ; failed++) {
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof StoreError) || failed >= tries) throw error;
        if (error.reason === 'short') short += 1;
        if (short >= SHORT_TRIES_MAX || !isRepeatable(request, error)) throw error;
        const askedMs = Math.min(error.retryAfterMs ?? 0, retryAfterMaxMs);
        const delayMs = askedMs + retryDelayMs(failed, random());
        onRetry?.(request, error, failed, delayMs);
        await clock.sleep(delayMs, signal).catch((reason: unknown) => {
          signal?.throwIfAborted();
          throw reason;
        });
      }
    }
  };
  const { bucket } = store;
  return {
    ...decorate(store, retrying),
    put: async (key, body, put = {}) =>
      retrying({ operation: 'put', bucket, key, options: put }, confirmedPut(store, key, body, put), () => 0),
    completeUpload: async (upload, parts, complete = {}) =>
      retrying(
        { operation: 'completeUpload', bucket, key: upload.key, options: complete },
        confirmedCompletion(store, upload, parts, complete),
        () => 0,
      ),
  };
}

/**
 * The wait after so many failed tries: between {@link RETRY_DELAY_MIN_MS} and a ceiling that starts at twice that
 * and doubles up to {@link RETRY_DELAY_MAX_MS}.
 *
 * @param random in [0, 1)
 */
export function retryDelayMs(failedTries: number, random: number): number {
  const ceiling = Math.min(RETRY_DELAY_MAX_MS, RETRY_DELAY_MIN_MS * 2 ** failedTries);
  return RETRY_DELAY_MIN_MS + random * (ceiling - RETRY_DELAY_MIN_MS);
}

/** With these the store says that it refused the request, so a put has stored nothing. */
const REFUSALS: ReadonlySet<StoreErrorReason> = new Set(['throttled', 'bad-digest']);

function isRepeatable({ options }: StoreRequest, { reason, retryable }: StoreError): boolean {
  // Who asks for a range knows that it is there, and something between us and the store may have answered wrongly.
  if (reason === 'short') return true;
  return retryable && (options.ifNoneMatch === undefined || REFUSALS.has(reason));
}
