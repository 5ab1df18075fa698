import { type Ownership, readOnlyAttributes } from './attributes.ts';
import type { BucketRoot } from './bucket-root.ts';
import { Directory, type Entries } from './directory.ts';
import { ROOT_INO } from './inode-numbers.ts';
import type { InvalidationRelay } from './invalidation.ts';
import type { SpaceUsage, Timestamp, Tree } from './node.ts';

export interface MountRootOptions {
  /** Whether the mount is the one bucket, and not a directory with a directory for each. */
  readonly isSingle: boolean;
  /** Whether buckets may be added; default: no. */
  readonly mayGrow?: boolean;
  readonly ownership: Ownership;
  readonly time: Timestamp;
  /** What can be staged; resolves with undefined where nothing can. */
  readonly room: () => Promise<SpaceUsage['free']>;
  /** What the buckets tell of their changes. */
  readonly invalidations?: InvalidationRelay;
}

export interface MountTree extends Tree {
  /** Shows a further bucket, in a tree that may grow. */
  add(name: string, bucket: BucketRoot): void;
}

/**
 * The tree of a mount: the bucket itself, or a directory for each of several.
 *
 * @param buckets by name; one that is not at the mount's root needs `isMountRoot: false`
 */
export function mountTree(buckets: ReadonlyMap<string, BucketRoot>, options: MountRootOptions): MountTree {
  const { invalidations, room, isSingle, mayGrow, ownership, time } = options;
  const all = new Map(buckets);
  const layers = (): readonly Entries[] => [
    new Map(Array.from(all, ([name, { directory }]) => [name, directory])),
  ];
  const [only] = buckets.values();
  // Not every kernel can be told that a bucket has come: it must ask again by itself.
  const several = new Directory(
    readOnlyAttributes('directory', ownership, ROOT_INO, 0, time),
    mayGrow ? 'refresh' : 'forever',
    layers(),
  );
  return {
    root: isSingle && only ? only.directory : several,
    space: async () => spaceOf(all.values(), room),
    ...(invalidations && { invalidations }),
    add: (name, bucket) => {
      all.set(name, bucket);
      several.replace(layers());
      invalidations?.invalidateEntry(several, name);
      invalidations?.invalidateNode(several, { content: true });
    },
  };
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
