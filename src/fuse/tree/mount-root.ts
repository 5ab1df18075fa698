import type { Clock } from '../../clock.ts';
import { REFRESH_WAIT_MS } from '../../limits.ts';
import { type Ownership, readOnlyAttributes } from './attributes.ts';
import type { BucketRoot } from './bucket-root.ts';
import { Directory } from './directory.ts';
import { ROOT_INO } from './inode-numbers.ts';
import type { InvalidationRelay } from './invalidation.ts';
import type { DirectoryNode, SpaceUsage, Timestamp, Tree } from './node.ts';
import { waitAtMost } from './patience.ts';

export interface MountRootOptions {
  readonly ownership: Ownership;
  readonly time: Timestamp;
  readonly clock: Clock;
  /** Aborts when the mount ends. */
  readonly lifetime: AbortSignal;
  /** What can be staged; resolves with undefined where nothing can. */
  readonly room: () => Promise<SpaceUsage['free']>;
  /** What the buckets tell of their changes. */
  readonly invalidations?: InvalidationRelay;
}

/**
 * The tree of a mount: the bucket itself, or a directory for each of several.
 *
 * @param buckets by name; one that is not at the mount's root needs `isMountRoot: false`
 */
export function mountTree(
  buckets: ReadonlyMap<string, BucketRoot>,
  isSingle: boolean,
  options: MountRootOptions,
): Tree {
  const space = new SpaceCounter([...buckets.values()], options);
  const { invalidations } = options;
  return {
    root: rootOf(buckets, isSingle, options),
    space: async (signal) => space.sum(signal),
    ...(invalidations && { invalidations }),
  };
}

function rootOf(
  buckets: ReadonlyMap<string, BucketRoot>,
  isSingle: boolean,
  { ownership, time }: MountRootOptions,
): DirectoryNode {
  const [only] = buckets.values();
  if (isSingle && only) return only.directory;
  const entries = new Map(Array.from(buckets, ([name, bucket]) => [name, bucket.directory]));
  return new Directory(readOnlyAttributes('directory', ownership, ROOT_INO, 0, time), 'forever', [entries]);
}

/**
 * Sums for `df`. They need every manifest, so they are counted in the background when first asked for; who asks
 * waits {@link REFRESH_WAIT_MS} at most and gets the sum of what is known by then.
 */
class SpaceCounter {
  readonly #buckets: readonly BucketRoot[];
  readonly #options: MountRootOptions;
  #counting: Promise<void> | undefined;

  constructor(buckets: readonly BucketRoot[], options: MountRootOptions) {
    this.#buckets = buckets;
    this.#options = options;
  }

  async sum(signal: AbortSignal): Promise<SpaceUsage> {
    this.#counting ??= this.#count();
    await waitAtMost(REFRESH_WAIT_MS, this.#counting, this.#options.clock, signal);
    const usages = this.#buckets.map((bucket) => bucket.usage);
    return {
      bytes: usages.reduce((sum, { bytes }) => sum + bytes, 0),
      files: usages.reduce((sum, { files }) => sum + files, 0),
      free: await this.#options.room(),
    };
  }

  /** Goes on when the one who asked has left, and ends with the mount. Never rejects: a bucket reports by itself. */
  async #count(): Promise<void> {
    await Promise.allSettled(this.#buckets.map(async (bucket) => bucket.countUsage(this.#options.lifetime)));
    this.#counting = undefined;
  }
}
