import type { Clock } from '../../clock.ts';
import { REFRESH_WAIT_MS } from '../../limits.ts';
import { SharedTask } from '../../shared-task.ts';
import { type Ownership, readOnlyAttributes } from './attributes.ts';
import type { BucketRoot } from './bucket-root.ts';
import { Directory } from './directory.ts';
import { ROOT_INO } from './inode-numbers.ts';
import type { DirectoryNode, SpaceUsage, Timestamp, Tree } from './node.ts';

export interface MountRootOptions {
  readonly ownership: Ownership;
  readonly time: Timestamp;
  readonly clock: Clock;
  /** Aborts when the mount ends. */
  readonly lifetime: AbortSignal;
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
  return { root: rootOf(buckets, isSingle, options), space: async (signal) => space.sum(signal) };
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
 * waits {@link REFRESH_WAIT_MS} at most and gets the sum so far.
 */
class SpaceCounter {
  readonly #buckets: readonly BucketRoot[];
  readonly #options: MountRootOptions;
  readonly #sums = new Map<BucketRoot, SpaceUsage>();
  #counting: SharedTask<void> | undefined;

  constructor(buckets: readonly BucketRoot[], options: MountRootOptions) {
    this.#buckets = buckets;
    this.#options = options;
  }

  async sum(signal: AbortSignal): Promise<SpaceUsage> {
    const over = new AbortController();
    try {
      await Promise.race([
        this.#count(),
        this.#options.clock.sleep(REFRESH_WAIT_MS, AbortSignal.any([signal, over.signal])),
      ]);
    } finally {
      over.abort();
    }
    let bytes = 0;
    let files = 0;
    for (const sum of this.#sums.values()) {
      bytes += sum.bytes;
      files += sum.files;
    }
    return { bytes, files };
  }

  async #count(): Promise<void> {
    this.#counting ??= new SharedTask(async (signal) => {
      await Promise.allSettled(
        this.#buckets.map(async (bucket) => {
          this.#sums.set(bucket, await bucket.usage(signal, (sum) => this.#sums.set(bucket, sum)));
        }),
      );
      this.#counting = undefined;
    });
    // The count goes on when the one who asked has left: it ends with the mount.
    await this.#counting.wait(this.#options.lifetime).catch(() => {});
  }
}
