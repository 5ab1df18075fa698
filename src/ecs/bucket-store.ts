import type { Clock } from '../clock.ts';
import type { BucketConfig, Config } from '../config.ts';
import { UserError } from '../errors.ts';
import { RETRY_DELAY_MAX_MS } from '../limits.ts';
import type { Logger } from '../log.ts';
import type { StoreRequest } from './decorated-object-store.ts';
import { createRekeyingObjectStore, KeptCredentials } from './kept-credentials.ts';
import { type RequestLimiter, createLimitingObjectStore } from './limiting-object-store.ts';
import { createLoggingObjectStore } from './logging-object-store.ts';
import { type ObjectStore, StoreError } from './object-store.ts';
import { createRetryingObjectStore } from './retrying-object-store.ts';
import { createS3ObjectStore } from './s3-object-store.ts';
import { adviceFor } from './store-advice.ts';
import { createSkewCorrectingObjectStore } from './store-clock.ts';
import type { StoreCounters } from './store-counters.ts';

/** What the stores of all buckets of a process share. */
export interface StoreEnvironment {
  /** Where the keys of all buckets are looked up again. */
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limiter: RequestLimiter;
  readonly counters: StoreCounters;
  /** Of one request, the first included; default: as {@link createRetryingObjectStore}. */
  readonly tries?: number;
}

/** The store of a bucket as it is configured. */
export interface BucketStore {
  readonly config: BucketConfig;
  /** Repeats what fails for a while, as file operations need it. */
  readonly store: ObjectStore;
  /**
   * Makes sure that the keys below a prefix can be listed with the credentials at hand.
   *
   * @returns the first {@link CHECK_KEYS_MAX} of them at most
   * @throws UserError that says why not, and what to do; the signal's reason
   */
  check(prefix: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** Closes the connections. */
  close(): void;
}

const CHECK_KEYS_MAX = 8;
/** Tries of the first request to a bucket, by somebody who waits for the answer. */
const CHECK_TRIES = 3;

/**
 * Puts the store of a bucket together: retry over exchange of keys over correction of the date over limit over log over S3,
 * so that a request that waits for its next try takes nobody's place.
 */
export function openBucketStore(config: BucketConfig, environment: StoreEnvironment): BucketStore {
  const { clock, log, limiter, counters, tries } = environment;
  const { bucket } = config;
  const credentials = new KeptCredentials({
    initial: config,
    read: async () => (await environment.config.reload()).bucketConfig(bucket),
    clock,
    log,
  });
  const s3 = createS3ObjectStore({
    bucket,
    endpoint: config.endpoint,
    credentials: async () => credentials.current(),
    clock,
  });
  const logged = createLoggingObjectStore(s3, { logger: log, counters, clock });
  const dated = createSkewCorrectingObjectStore(createLimitingObjectStore(logged, limiter));
  const once = createRekeyingObjectStore(dated, credentials);
  const onRetry = (request: StoreRequest): void => counters.retried(request);
  const retryAfterMaxMs = RETRY_DELAY_MAX_MS;
  const quick = createRetryingObjectStore(once, { clock, onRetry, tries: CHECK_TRIES, retryAfterMaxMs });
  return {
    config,
    store: createRetryingObjectStore(once, { clock, onRetry, ...(tries !== undefined && { tries }) }),
    check: async (prefix, signal) => check(quick, prefix, config.endpoint, signal),
    close: () => s3.close(),
  };
}

async function check(
  store: ObjectStore,
  prefix: string,
  endpoint: string,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  try {
    const { objects } = await store.listPage({ prefix, maxKeys: CHECK_KEYS_MAX }, { signal });
    return objects.map(({ key }) => key);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new UserError(
      `bucket ${store.bucket} at ${endpoint} can't be listed: ${error.message}`,
      adviceFor(error.reason, store.bucket),
      { cause: error },
    );
  }
}
