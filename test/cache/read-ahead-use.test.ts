import { expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { BLOCK_BYTES, MiB } from '../../src/limits.ts';
import { copied } from '../support/copied.ts';
import { roomFor } from '../support/cache-room.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

const { signal } = new AbortController();
const SIZE = 8 * BLOCK_BYTES;

function source() {
  const store = new MemoryObjectStore();
  store.seed('key', randomBytesOf(1, SIZE));
  const content: Content = { id: 'content', key: 'key', size: SIZE };
  return { store, content };
}

test('what was fetched ahead is used with its first read, whether it waited in memory or was on its way', async () => {
  const { store, content } = source();
  const cache = new BlockCache(16 * MiB);
  await cache.prefetch(store, content, 0, 2 * BLOCK_BYTES, signal);
  expect(cache.statistics.readAhead).toEqual({ fetchedBytes: 2 * BLOCK_BYTES, usedBytes: 0, wastedBytes: 0 });
  for (let time = 0; time < 2; time += 1) await cache.read(store, content, 5, 10, signal, copied);
  expect(cache.statistics.readAhead.usedBytes).toBe(BLOCK_BYTES);

  const gate = store.hold('getRange');
  const fetching = cache.prefetch(store, content, 2 * BLOCK_BYTES, BLOCK_BYTES, signal);
  const reading = cache.read(store, content, 2 * BLOCK_BYTES, 10, signal, copied);
  await gate.reached();
  gate.release();
  await Promise.all([fetching, reading]);
  // What a read itself fetches was not fetched ahead.
  await cache.read(store, content, 7 * BLOCK_BYTES, 10, signal, copied);
  expect(cache.statistics.readAhead).toEqual({
    fetchedBytes: 3 * BLOCK_BYTES,
    usedBytes: 2 * BLOCK_BYTES,
    wastedBytes: 0,
  });
});

test('what leaves memory unread was wasted, once', async () => {
  const { store, content } = source();
  const cache = new BlockCache(roomFor(2));
  await cache.prefetch(store, content, 0, 2 * BLOCK_BYTES, signal);
  await cache.read(store, content, 0, 10, signal, copied);
  for (const block of [4, 5, 6]) await cache.read(store, content, block * BLOCK_BYTES, 10, signal, copied);
  expect(cache.statistics.readAhead).toEqual({
    fetchedBytes: 2 * BLOCK_BYTES,
    usedBytes: BLOCK_BYTES,
    wastedBytes: BLOCK_BYTES,
  });
});

test('what reads took from memory and what came from the store is counted in bytes', async () => {
  const { store, content } = source();
  const cache = new BlockCache(16 * MiB);
  await cache.read(store, content, 0, BLOCK_BYTES + 1, signal, copied);
  await cache.read(store, content, BLOCK_BYTES - 3, 10, signal, copied);
  expect(cache.statistics).toMatchObject({
    hits: 2,
    hitBytes: 10,
    misses: 2,
    fetchedBlocks: 2,
    fetchedBytes: 2 * BLOCK_BYTES,
  });
});
