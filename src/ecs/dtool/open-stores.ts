import type { BucketConfig } from '../../config.ts';
import { UserError, messageOf } from '../../errors.ts';
import { type BucketStore, openBucketStore, type StoreEnvironment } from '../bucket-store.ts';
import { StoreError, type StoreErrorReason } from '../object-store.ts';
import { REGISTRATION_PREFIX, uuidOfRegistrationKey } from './keys.ts';

interface Opening {
  /** Whether an earlier mount has kept what a bucket held. */
  readonly isKnown: (bucket: BucketConfig) => Promise<boolean>;
  /** Hears of buckets that are mounted though their store is away. */
  readonly onAway: (warning: string) => void;
}

/** What says that a store is away, and nothing of the bucket or the credentials. */
const AWAY: ReadonlySet<StoreErrorReason> = new Set(['unreachable', 'timeout', 'server-error', 'throttled']);

/** The store of a bucket, which has answered or is known. */
export interface OpenedStore {
  readonly store: BucketStore;
  /** Uuids of some datasets that the bucket has; empty where the store is away. */
  readonly uuids: readonly string[];
}

export interface OpenedStores {
  /** At least one. */
  readonly stores: readonly OpenedStore[];
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
  const stores: OpenedStore[] = [];
  const failures = new Map<string, unknown>();
  const opened = await Promise.allSettled(
    buckets.map(async (bucket) => {
      const store = openBucketStore(environment.config.bucketConfig(bucket), environment);
      try {
        return { store, uuids: uuidsOf(await store.check(REGISTRATION_PREFIX)) };
      } catch (error) {
        const cause = error instanceof UserError ? error.cause : undefined;
        const isAway = cause instanceof StoreError && AWAY.has(cause.reason);
        if (isAway && (await isKnown(store.config))) {
          onAway(`${messageOf(error)}; what is known of it is shown`);
          return { store, uuids: [] };
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
): Promise<OpenedStore> {
  const config = await environment.config.reload();
  const store = openBucketStore(config.bucketConfig(bucket), environment);
  try {
    return { store, uuids: uuidsOf(await store.check(REGISTRATION_PREFIX, signal)) };
  } catch (error) {
    store.close();
    throw error;
  }
}

function uuidsOf(keys: readonly string[]): readonly string[] {
  return keys.flatMap((key) => uuidOfRegistrationKey(key) ?? []);
}
