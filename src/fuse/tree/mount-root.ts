import { type Ownership, readOnlyAttributes } from './attributes.ts';
import type { BucketRoot } from './bucket-root.ts';
import { Directory } from './directory.ts';
import { ROOT_INO } from './inode-numbers.ts';
import type { InvalidationRelay } from './invalidation.ts';
import type { DirectoryNode, SpaceUsage, Timestamp, Tree } from './node.ts';

export interface MountRootOptions {
  readonly ownership: Ownership;
  readonly time: Timestamp;
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
  const { invalidations, room } = options;
  return {
    root: rootOf(buckets, isSingle, options),
    space: async () => spaceOf(buckets.values(), room),
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

/** What `df` is told: sums of what is known anyway, as anybody may ask at any time, a monitor of the machine for one. */
async function spaceOf(buckets: Iterable<BucketRoot>, room: MountRootOptions['room']): Promise<SpaceUsage> {
  const usages = Array.from(buckets, ({ usage }) => usage);
  return {
    bytes: usages.reduce((sum, { bytes }) => sum + bytes, 0),
    files: usages.reduce((sum, { files }) => sum + files, 0),
    free: await room(),
  };
}
