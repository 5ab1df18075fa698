import { systemClock } from '../clock.ts';
import type { Config } from '../config.ts';
import { type BucketStore, openBucketStore } from '../ecs/bucket-store.ts';
import { RequestLimiter } from '../ecs/limiting-object-store.ts';
import { StoreCounters } from '../ecs/store-counters.ts';
import { silentLogger } from '../log.ts';

/**
 * Opens the store of a bucket for a command, which shares it with nothing else and tells what goes wrong by itself.
 *
 * @throws UserError when it is not, or wrongly, configured
 */
export function openCommandBucket(bucket: string, config: Config): BucketStore {
  return openBucketStore(config.bucketConfig(bucket), {
    config,
    clock: systemClock,
    log: silentLogger,
    limiter: new RequestLimiter(),
    counters: new StoreCounters(),
  });
}
