import { createHash } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { BlockSource } from '../../src/cache/block-source.ts';
import { DiskStore } from '../../src/cache/disk-store.ts';
import type { DiskTasks } from '../../src/cache/disk-tasks.ts';
import { BLOCK_BYTES, MiB } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { copied } from '../support/copied.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { inlineDiskTasks } from '../support/inline-disk-tasks.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

const { signal } = new AbortController();

async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'block-source-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

/** A mount's cache; several on one directory are several mounts. */
async function cacheOn(directory: string, endpoint = 'http://store') {
  const damaged: string[] = [];
  const verdicts: string[] = [];
  const tasks: DiskTasks = {
    ...inlineDiskTasks,
    verify: async (...given) => {
      const found = await inlineDiskTasks.verify(...given);
      verdicts.push(found.verdict);
      return found;
    },
  };
  const disk = await DiskStore.open({
    directory,
    maxBytes: 64 * MiB,
    queueMaxBytes: 64 * MiB,
    tasks,
    clock: new ManualClock(),
    log: silentLogger,
  });
  const source = new BlockSource({
    disk,
    originOf: () => endpoint,
    onDamaged: (bucket, key, reason) => damaged.push(`${bucket}/${key}: ${reason}`),
  });
  const cache = new BlockCache(64 * MiB, source);
  const read = async (store: MemoryObjectStore, content: Content, offset = 0, length = content.size) => {
    const bytes = await cache.read(store, content, offset, length, signal, copied);
    await disk.close();
    return bytes;
  };
  return { cache, source, disk, damaged, verdicts, read };
}

function itemOf(seed: number, size: number): { store: MemoryObjectStore; content: Content; body: Buffer } {
  const body = randomBytesOf(seed, size);
  const store = new MemoryObjectStore();
  store.seed('key', body);
  const md5 = createHash('md5').update(body).digest('hex');
  return { store, body, content: { id: `item ${seed}`, key: 'key', size, md5 } };
}

test('what one mount has read the next one has, while the store is away', async () => {
  const directory = await scratch();
  const { store, content, body } = itemOf(1, 3 * BLOCK_BYTES + 9);
  const first = await cacheOn(directory);
  expect((await first.read(store, content)).equals(body)).toBe(true);
  const second = await cacheOn(directory);
  const away = new MemoryObjectStore();
  expect((await second.read(away, content)).equals(body)).toBe(true);
  expect(away.requests.getRange).toBe(0);
  expect(second.cache.statistics).toMatchObject({
    fetchedBlocks: 0,
    fetchedBytes: 0,
    disk: { hits: 4, misses: 0, hitBytes: body.length },
  });
});

test('only what is missing is fetched, in as few requests as before', async () => {
  const directory = await scratch();
  const { store, content, body } = itemOf(2, 8 * BLOCK_BYTES);
  await (await cacheOn(directory)).read(store, content, 3 * BLOCK_BYTES, 2 * BLOCK_BYTES);
  const second = await cacheOn(directory);
  expect((await second.read(store, content)).equals(body)).toBe(true);
  expect(store.requests.getRange).toBe(3);
  expect(second.cache.statistics.fetchedBytes).toBe(6 * BLOCK_BYTES);
});

test('nothing that has neither hash nor ETag outlives the mount', async () => {
  const directory = await scratch();
  const { store, content } = itemOf(3, 10);
  const { md5: _, ...bare } = content;
  await (await cacheOn(directory)).read(store, bare);
  await (await cacheOn(directory)).read(store, bare);
  expect(store.requests.getRange).toBe(2);
});

test('a bucket of the same name at another endpoint shares nothing', async () => {
  const directory = await scratch();
  const { store, content } = itemOf(4, 3 * BLOCK_BYTES);
  await (await cacheOn(directory, 'http://evil')).read(store, content);
  await (await cacheOn(directory, 'http://good')).read(store, content);
  expect(store.requests.getRange).toBe(2);
});

test('a block that was damaged on disk comes from the store again, and is whole afterwards', async () => {
  const directory = await scratch();
  const { store, content, body } = itemOf(5, 2 * BLOCK_BYTES);
  await (await cacheOn(directory)).read(store, content);
  const [name = ''] = (await readdir(directory, { recursive: true })).filter((path) => path.endsWith('-0'));
  const path = join(directory, name);
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(5) ^ 1, 5);
  await writeFile(path, bytes);
  const second = await cacheOn(directory);
  expect((await second.read(store, content)).equals(body)).toBe(true);
  expect(second.cache.statistics).toMatchObject({ fetchedBytes: BLOCK_BYTES, disk: { corruptBlocks: 1 } });
  const third = await cacheOn(directory);
  expect((await third.read(new MemoryObjectStore(), content)).equals(body)).toBe(true);
});

test('a whole item is held against its MD5, once', async () => {
  const directory = await scratch();
  const { store, content } = itemOf(6, 5 * BLOCK_BYTES + 1);
  const first = await cacheOn(directory);
  await first.read(store, content, 0, 3 * BLOCK_BYTES);
  expect(first.verdicts).toEqual([]);
  await first.read(store, content);
  await expect.poll(() => first.verdicts).toEqual(['verified']);
  const second = await cacheOn(directory);
  await second.read(store, content);
  expect(second.verdicts).toEqual([]);
  expect(second.damaged).toEqual([]);
});

test('an item that has another MD5 is EIO once all of it was read, is reported, and its blocks are gone', async () => {
  const directory = await scratch();
  const { store, content, body } = itemOf(7, 3 * BLOCK_BYTES);
  const altered = Buffer.from(body);
  altered.writeUInt8(altered.readUInt8(BLOCK_BYTES + 1) ^ 4, BLOCK_BYTES + 1);
  store.seed('key', altered);
  const mount = await cacheOn(directory);
  // Nobody can know it before all of it was seen.
  expect((await mount.read(store, content)).equals(altered)).toBe(true);
  await expect.poll(() => mount.damaged).toHaveLength(1);
  const md5 = createHash('md5').update(altered).digest('hex');
  expect(mount.damaged[0]).toContain(`has MD5 ${md5} and should have ${content.md5}`);
  await expect(mount.read(store, content, 0, 1)).rejects.toMatchObject({ code: 'EIO' });
  // Another look at the item, as when it is opened anew, makes no difference.
  expect(() => mount.cache.check(store, { ...content })).toThrow('should have');
  expect((await readdir(directory, { recursive: true })).filter((path) => path.endsWith('-0'))).toEqual([]);
  store.seed('key', body);
  mount.source.forgive();
  expect((await mount.read(store, content)).equals(body)).toBe(true);
});
