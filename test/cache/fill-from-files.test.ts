import { createHash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { fillFromFiles } from '../../src/cache/fill-from-files.ts';
import { itemContent } from '../../src/cache/item-content.ts';
import { BLOCK_BYTES, MiB } from '../../src/limits.ts';
import { copied } from '../support/copied.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

async function fileOf(
  name: string,
  bytes: Buffer,
): Promise<{ content: Content; path: string; open: () => Promise<FileHandle> }> {
  const directory = await mkdtemp(join(tmpdir(), 'fill-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'file');
  await writeFile(path, bytes);
  const hash = createHash('md5').update(bytes).digest('hex');
  const item = { identifier: name, hash, size: bytes.length, timestamp: 0 };
  return {
    content: itemContent({ bucket: 'bucket', uuid: 'u' }, item, `u/${name}`, true),
    path,
    open: async () => open(path),
  };
}

const { signal } = new AbortController();

test('what was filled in is read without a request, as far as a part of the cache has room', async () => {
  const cache = new BlockCache(8 * MiB);
  const store = new MemoryObjectStore();
  const first = await fileOf('first', randomBytesOf(1, 3 * BLOCK_BYTES + 5));
  const tooLarge = await fileOf('large', randomBytesOf(2, 2 * MiB));
  const small = await fileOf('small', Buffer.from('small'));
  const empty = await fileOf('empty', Buffer.of());
  await fillFromFiles(cache, store, [first, tooLarge, empty, small]);
  const read = await cache.read(store, first.content, 0, first.content.size, signal, copied);
  expect(createHash('md5').update(read).digest('hex')).toBe(first.content.md5);
  expect((await cache.read(store, small.content, 0, 100, signal, copied)).toString()).toBe('small');
  expect(store.requests.getRange).toBe(0);
  await expect(cache.read(store, tooLarge.content, 0, 1, signal, copied)).rejects.toThrow('is missing');
});

test('a file that is not what was uploaded is left out', async () => {
  const cache = new BlockCache(8 * MiB);
  const file = await fileOf('changed', Buffer.from('before'));
  const { path } = file;
  await writeFile(path, 'behind');
  await fillFromFiles(cache, { bucket: 'bucket' }, [file]);
  await writeFile(path, 'short');
  await fillFromFiles(cache, { bucket: 'bucket' }, [file]);
  expect(cache.statistics.blocks).toBe(0);
});
