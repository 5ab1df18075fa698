import { setMaxListeners } from 'node:events';
import type { Clock } from '../../clock.ts';
import type { BlockCache } from '../../cache/block-cache.ts';
import type { KnownBucket } from '../../cache/known-bucket.ts';
import type { Problem } from '../../ecs/dtool/format-error.ts';
import type { ObjectStore } from '../../ecs/object-store.ts';
import { messageOf } from '../../errors.ts';
import type { Ownership } from './attributes.ts';
import type { ContentSource } from './files.ts';
import type { ItemsMemory } from './items-memory.ts';
import type { Problems } from './problems.ts';
import type { Invalidation } from './invalidation.ts';
import { Refreshing, type RefreshingOptions } from './refreshing.ts';

/** What everything in one bucket's tree shares. */
export class BucketContext {
  readonly store: ObjectStore;
  readonly ownership: Ownership;
  readonly source: ContentSource;
  readonly invalidation: Invalidation;
  /** Bounds what the items of datasets take. */
  readonly itemsMemory: ItemsMemory;
  /** What earlier mounts have found here; undefined where nothing is kept. */
  readonly known: KnownBucket | undefined;
  readonly #environment: TreeEnvironment;
  /** Keys whose last read failed. */
  readonly #unreadable = new Set<string>();

  constructor(store: ObjectStore, environment: TreeEnvironment, known?: KnownBucket) {
    this.known = known;
    this.store = store;
    this.ownership = environment.ownership;
    this.invalidation = environment.invalidation;
    this.itemsMemory = environment.itemsMemory;
    this.#environment = environment;
    // As many listen to it as there are refreshes under way: that is no leak.
    setMaxListeners(0, environment.lifetime);
    this.source = {
      store,
      cache: environment.cache,
      onReadError: (key, error) => {
        // One reason will do until it can be read again: each part of an object may fail in another way.
        if (this.#unreadable.has(key)) return;
        this.#unreadable.add(key);
        this.report(key, messageOf(error));
      },
      onRead: (key) => {
        if (this.#unreadable.size > 0 && this.#unreadable.delete(key)) this.resolve(key);
      },
    };
  }

  report(key: string, reason: string): void {
    this.#environment.problems.report({ bucket: this.store.bucket, key, reason });
  }

  resolve(key: string): void {
    this.#environment.problems.resolve(this.store.bucket, key);
  }

  /**
   * For a source that tells all of its problems every time it is asked: reports them, and resolves those that it had
   * the last time and has no more.
   */
  reporter(): Reporter {
    let last: ReadonlySet<string> = new Set();
    return (problems) => {
      const keys = new Set(problems.map(({ key }) => key));
      for (const key of last) if (!keys.has(key)) this.resolve(key);
      last = keys;
      for (const { key, reason } of problems) this.report(key, reason);
    };
  }

  /**
   * A value of this bucket that is loaded on demand.
   *
   * @param what the key or prefix that it comes from, for the report of a refresh that fails
   * @param options the time to live is by default as configured for what can change
   */
  refreshing<T>(
    what: string,
    load: (previous: T | undefined, signal: AbortSignal) => Promise<T>,
    options: Partial<Pick<RefreshingOptions<T>, 'timeToLiveMs' | 'onChange'>> = {},
  ): Refreshing<T> {
    const { clock, lifetime, refreshMs } = this.#environment;
    return new Refreshing(load, {
      clock,
      lifetime,
      timeToLiveMs: refreshMs,
      ...options,
      onError: (error) =>
        this.report(what, `could not be refreshed, older content is shown: ${messageOf(error)}`),
      onSuccess: () => this.resolve(what),
    });
  }
}

/** Takes all problems that a source has now. */
export type Reporter = (problems: readonly Problem[]) => void;

/** What all buckets of a mount share. */
export interface TreeEnvironment {
  readonly cache: BlockCache;
  readonly itemsMemory: ItemsMemory;
  readonly ownership: Ownership;
  readonly problems: Problems;
  readonly clock: Clock;
  /** Aborts when the mount ends. */
  readonly lifetime: AbortSignal;
  /** Time to live of what can change in the bucket. */
  readonly refreshMs: number;
  /** Hears what has changed in the tree. */
  readonly invalidation: Invalidation;
}
