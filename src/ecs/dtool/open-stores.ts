import type { BucketConfig } from '../../config.ts';
import { UserError, messageOf } from '../../errors.ts';
import { type BucketStore, openBucketStore, type StoreEnvironment } from '../bucket-store.ts';
import { StoreError, type StoreErrorReason } from '../object-store.ts';
import { REGISTRATION_PREFIX } from './keys.ts';

interface Opening {
  /** Whether an earlier mount has kept what a bucket held. */
  readonly isKnown: (bucket: BucketConfig) => Promise<boolean>;
  /** Hears of buckets that are mounted though their store is away. */
  readonly onAway: (warning: string) => void;
}

/** What says that a store is away, and nothing of the bucket or the credentials. */
const AWAY: ReadonlySet<StoreErrorReason> = new Set(['unreachable', 'timeout', 'server-error', 'throttled']);

export interface OpenedStores {
  /** At least one. */
  readonly stores: readonly BucketStore[];
  /** Those that can't be used, with the reason. */
  readonly absent: ReadonlyMap<string, string>;
}

/**
 * Opens the buckets of a mount. One that is known goes on without its store.
 *
 * @throws UserError when none can be used
 */
export async function openStores(
  buckets: readonly string[],
  environment: StoreEnvironment,
  { isKnown, onAway }: Opening,
): Promise<OpenedStores> {
  const stores: BucketStore[] = [];
  const failures = new Map<string, unknown>();
  const opened = await Promise.allSettled(
    buckets.map(async (bucket) => {
      const store = openBucketStore(environment.config.bucketConfig(bucket), environment);
      try {
        await store.check(REGISTRATION_PREFIX);
        return store;
      } catch (error) {
        const cause = error instanceof UserError ? error.cause : undefined;
        const isAway = cause instanceof StoreError && AWAY.has(cause.reason);
        if (isAway && (await isKnown(store.config))) {
          onAway(`${messageOf(error)}; what is known of it is shown`);
          return store;
        }
        store.close();
        throw error;
      }
    }),
  );
  opened.forEach((result, index) => {
    if (result.status === 'fulfilled') stores.push(result.value);
    else failures.set(buckets[index] ?? '', result.reason);
  });
  const absent = new Map(Array.from(failures, ([bucket, error]) => [bucket, messageOf(error)]));
  if (stores.length > 0) return { stores, absent };
  if (buckets.length === 1) throw [...failures.values()][0];
  throw new UserError(`none of the buckets can be used: ${[...absent.values()].join('; ')}`);
}

/**
 * Opens a bucket that could not be used before, with the configuration as it is now.
 *
 * @throws UserError when it still can't be used; the signal's reason
 */
export async function openAbsentStore(
  bucket: string,
  environment: StoreEnvironment,
  signal: AbortSignal,
): Promise<BucketStore> {
  const config = await environment.config.reload();
  const store = openBucketStore(config.bucketConfig(bucket), environment);
  try {
    await store.check(REGISTRATION_PREFIX, signal);
    return store;
  } catch (error) {
    store.close();
    throw error;
  }
}
