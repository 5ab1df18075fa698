import type { BucketConfig } from '../../config.ts';
import { UserError, messageOf } from '../../errors.ts';
import { type BucketStore, openBucketStore } from '../bucket-store.ts';
import { StoreError, type StoreErrorReason } from '../object-store.ts';
import { REGISTRATION_PREFIX } from './keys.ts';

interface Opening {
  /** Hears of each bucket that is left out. */
  readonly problems: {
    report(problem: { readonly bucket: string; readonly key: string; readonly reason: string }): void;
  };
  /** Whether an earlier mount has kept what a bucket held. */
  readonly isKnown: (bucket: BucketConfig) => Promise<boolean>;
  /** Hears of buckets that are mounted though their store is away. */
  readonly onAway: (warning: string) => void;
}

/** What says that a store is away, and nothing of the bucket or the credentials. */
const AWAY: ReadonlySet<StoreErrorReason> = new Set(['unreachable', 'timeout', 'server-error', 'throttled']);

/**
 * Opens the buckets; of several, those that can't be used are reported and left out. One that is known goes on without
 * its store.
 *
 * @throws UserError when none can be used
 */
export async function openStores(
  buckets: readonly string[],
  environment: Parameters<typeof openBucketStore>[1],
  { problems, isKnown, onAway }: Opening,
): Promise<readonly BucketStore[]> {
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
  const failures = opened.filter((result) => result.status === 'rejected');
  const [first] = failures;
  if (first && failures.length === buckets.length) {
    if (buckets.length === 1) throw first.reason;
    throw new UserError(
      `none of the buckets can be used: ${failures.map(({ reason }) => messageOf(reason)).join('; ')}`,
    );
  }
  opened.forEach((result, index) => {
    const bucket = buckets[index];
    if (result.status === 'rejected' && bucket !== undefined) {
      problems.report({ bucket, key: '', reason: messageOf(result.reason) });
    }
  });
  return opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}
