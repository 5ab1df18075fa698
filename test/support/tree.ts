import { setMaxListeners } from 'node:events';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { KnownBucket } from '../../src/cache/known-bucket.ts';
import { type DatasetSpec, datasetObjects } from '../../src/demo/dataset-objects.ts';
import { BucketRoot } from '../../src/fuse/tree/bucket-root.ts';
import { BucketContext } from '../../src/fuse/tree/context.ts';
import { ItemsMemory } from '../../src/fuse/tree/items-memory.ts';
import type { DirectoryNode, FileNode, Node } from '../../src/fuse/tree/node.ts';
import { InvalidationRelay } from '../../src/fuse/tree/invalidation.ts';
import { Problems } from '../../src/fuse/tree/problems.ts';
import { FsError } from '../../src/errors.ts';
import { MiB } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { ManualClock } from './manual-clock.ts';
import { MemoryObjectStore } from './memory-object-store.ts';
import { copied } from './copied.ts';

export const REFRESH_MS = 60_000;
export const OWNERSHIP = { uid: 1000, gid: 1000, umask: 0 };
export const TIME = { seconds: 1, nanoseconds: 0 };

/** Never aborts, however many listen. */
export const never = new AbortController().signal;
setMaxListeners(0, never);

/** The tree of one bucket in memory, with a clock that the test moves. */
export function treeOf(
  store = new MemoryObjectStore(),
  likelyPrefix = '',
  known?: KnownBucket,
  itemsMemory = new ItemsMemory(64 * MiB),
) {
  const clock = new ManualClock();
  const lifetime = new AbortController();
  const problems = new Problems(silentLogger);
  const invalidations = new InvalidationRelay();
  const environment = {
    cache: new BlockCache(64 * MiB),
    itemsMemory,
    ownership: OWNERSHIP,
    problems,
    clock,
    lifetime: lifetime.signal,
    refreshMs: REFRESH_MS,
    invalidation: invalidations,
  };
  const context = new BucketContext(store, environment, known);
  const bucket = new BucketRoot(context, { isMountRoot: true, time: TIME, likelyPrefix });
  return { store, clock, lifetime, problems, context, bucket, invalidations, root: bucket.directory };
}

export function seedDataset(store: MemoryObjectStore, spec: DatasetSpec): void {
  for (const { key, body, metadata } of datasetObjects(spec)) store.seed(key, body, metadata);
}

export async function nodeAt(root: DirectoryNode, path: string): Promise<Node> {
  let node: Node = root;
  for (const name of path.split('/').filter((part) => part !== '')) {
    if (node.kind !== 'directory') throw new FsError('ENOTDIR', path);
    node = await node.lookup(name, never);
  }
  return node;
}

export async function directoryAt(root: DirectoryNode, path: string): Promise<DirectoryNode> {
  const node = await nodeAt(root, path);
  if (node.kind !== 'directory') throw new FsError('ENOTDIR', path);
  return node;
}

export async function fileAt(root: DirectoryNode, path: string): Promise<FileNode> {
  const node = await nodeAt(root, path);
  if (node.kind !== 'file') throw new FsError('EINVAL', path);
  return node;
}

/** The names in a directory, sorted. */
export async function namesIn(root: DirectoryNode, path = ''): Promise<readonly string[]> {
  const entries = await (await directoryAt(root, path)).list(never);
  return Array.from({ length: entries.length }, (_, index) => entries.at(index)?.name ?? '').toSorted();
}

export async function contentOf(file: FileNode): Promise<Buffer> {
  const open = await file.open(never, 'read');
  try {
    return await open.read(0, file.attributes().size, never, copied);
  } finally {
    open.close();
  }
}

export async function textAt(root: DirectoryNode, path: string): Promise<string> {
  return (await contentOf(await fileAt(root, path))).toString();
}

/** All files below a directory by their path, `/` between names. */
export async function filesBelow(directory: DirectoryNode, path = ''): Promise<Map<string, FileNode>> {
  const found = new Map<string, FileNode>();
  const entries = await directory.list(never);
  for (let index = 0; index < entries.length; index += 1) {
    const { name, node } = entries.at(index) ?? {};
    if (node?.kind === 'file') found.set(`${path}${name}`, node);
    if (node?.kind === 'directory') {
      for (const [below, file] of await filesBelow(node, `${path}${name}/`)) found.set(below, file);
    }
  }
  return found;
}

/** Lets everything that can go on go on. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}
