import { setMaxListeners } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { ReadAheadBudget } from '../../src/cache/read-ahead-budget.ts';
import { ContentReader } from '../../src/cache/read-ahead.ts';
import {
  BLOCK_BYTES,
  GiB,
  KiB,
  MiB,
  READ_AHEAD_CACHE_PARTS,
  READ_AHEAD_MAX_BYTES,
  READ_AHEAD_MIN_BYTES,
} from '../../src/limits.ts';
import { copied } from '../support/copied.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { type Gate, MemoryObjectStore } from '../support/memory-object-store.ts';

const SIZE = 48 * MiB;
const KEY = 'item';
const body = randomBytesOf(1, SIZE);
const never = new AbortController().signal;
setMaxListeners(0, never);
const READ_BYTES = 128 * KiB;

let gate: Gate | undefined;
afterEach(() => gate?.release());

function openFile(cache: BlockCache, store = storeOf(), id = 'content'): ContentReader {
  const content: Content = { id, key: KEY, size: SIZE };
  return new ContentReader(cache, store, content);
}

function storeOf(): MemoryObjectStore {
  const store = new MemoryObjectStore();
  store.seed(KEY, body);
  return store;
}

/** Lets everything that can go on go on. */
async function idle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** A reader that has begun to go through the file, with its read-ahead held up. */
async function begun(cache: BlockCache) {
  const store = storeOf();
  const reader = openFile(cache, store);
  await reader.read(0, READ_BYTES, never, copied);
  gate = store.hold('getRange');
  await reader.read(READ_BYTES, READ_BYTES, never, copied);
  await gate.reached();
  expect(cache.readAhead.inFlightBytes).toBe(READ_AHEAD_MIN_BYTES);
  return { store, reader, gate };
}

describe('a file that is read', () => {
  test('in sequence comes whole, in few large requests, each byte once', async () => {
    const store = storeOf();
    const cache = new BlockCache(GiB);
    const reader = openFile(cache, store);
    for (let offset = 0; offset < SIZE; offset += READ_BYTES) {
      const part = await reader.read(offset, READ_BYTES, never, copied);
      expect(part.equals(body.subarray(offset, offset + READ_BYTES))).toBe(true);
      await idle();
    }
    expect(cache.statistics.fetchedBytes).toBe(SIZE);
    expect(store.requests.getRange).toBeLessThanOrEqual(24);
    expect(cache.readAhead.inFlightBytes).toBe(0);
  });

  test('with neighbouring reads out of order is in sequence all the same', async () => {
    const store = storeOf();
    const cache = new BlockCache(GiB);
    const reader = openFile(cache, store);
    for (let offset = 0; offset < 8 * MiB; offset += 4 * READ_BYTES) {
      await Promise.all(
        [1, 0, 3, 2].map(async (place) =>
          reader.read(offset + place * READ_BYTES, READ_BYTES, never, copied),
        ),
      );
      await idle();
    }
    expect(cache.statistics.fetchedBytes).toBeGreaterThan(8 * MiB);
    expect(store.requests.getRange).toBeLessThanOrEqual(12);
  });

  test('here and there is not fetched ahead', async () => {
    const store = storeOf();
    const cache = new BlockCache(GiB);
    const reader = openFile(cache, store);
    for (let index = 0; index < 20; index += 1) {
      await reader.read(((index * 29) % 47) * MiB, 4 * KiB, never, copied);
      await idle();
    }
    expect(store.requests.getRange).toBe(20);
    expect(cache.statistics.fetchedBytes).toBe(20 * BLOCK_BYTES);
  });

  test('once is not fetched ahead', async () => {
    const store = storeOf();
    const cache = new BlockCache(GiB);
    await openFile(cache, store).read(0, 4 * KiB, never, copied);
    await idle();
    expect(cache.statistics.fetchedBytes).toBe(BLOCK_BYTES);
  });
});

describe('what is fetched ahead', () => {
  test('is given up when the file is closed', async () => {
    const cache = new BlockCache(GiB);
    const held = await begun(cache);
    held.reader.close();
    await idle();
    expect(held.gate.waiting).toBe(0);
    expect(cache.readAhead.inFlightBytes).toBe(0);
    expect(cache.readAhead.windowBytes).toBe(READ_AHEAD_MAX_BYTES);
  });

  test('is given up when the reader jumps', async () => {
    const cache = new BlockCache(GiB);
    const held = await begun(cache);
    const jumped = held.reader.read(40 * MiB, 4 * KiB, never, copied);
    await idle();
    expect(held.gate.waiting).toBe(1);
    held.gate.release();
    await jumped;
    expect(cache.readAhead.inFlightBytes).toBe(0);
  });

  test('does not delay the read that asks for it', async () => {
    const store = storeOf();
    const priorities: unknown[] = [];
    const getRange = store.getRange.bind(store);
    store.getRange = async (key, offset, targets, options) => {
      priorities.push(options?.priority);
      return getRange(key, offset, targets, options);
    };
    const reader = openFile(new BlockCache(GiB), store);
    await reader.read(0, 300 * KiB, never, copied);
    // It ends in the middle of a block that is not there yet.
    await reader.read(300 * KiB, 300 * KiB, never, copied);
    expect(priorities.slice(0, 2)).toEqual(['read', 'read']);
    expect(priorities.slice(2)).toEqual(['background']);
  });

  test('never exceeds its part of the cache, however many files are read', async () => {
    const maxBytes = 32 * MiB;
    const cache = new BlockCache(maxBytes);
    const store = storeOf();
    const readers = Array.from({ length: 40 }, (_, index) => openFile(cache, store, `content ${index}`));
    for (let offset = 0; offset < 2 * MiB; offset += READ_BYTES) {
      gate = store.hold('getRange');
      const reading = readers.map(async (reader) => reader.read(offset, READ_BYTES, never, copied));
      await idle();
      expect(cache.readAhead.inFlightBytes).toBeLessThanOrEqual(maxBytes / READ_AHEAD_CACHE_PARTS);
      gate.release();
      await Promise.all(reading);
      await idle();
    }
    // Nothing was evicted before it was read.
    expect(cache.statistics.fetchedBytes).toBeLessThanOrEqual(40 * 3 * MiB);
    for (const reader of readers) reader.close();
    expect(cache.readAhead.inFlightBytes).toBe(0);
  });

  test('is nothing in a cache too small for it', async () => {
    const cache = new BlockCache(READ_AHEAD_CACHE_PARTS * BLOCK_BYTES - 1);
    const store = storeOf();
    const reader = openFile(cache, store);
    for (let offset = 0; offset < 2 * MiB; offset += READ_BYTES)
      await reader.read(offset, READ_BYTES, never, copied);
    await idle();
    expect(cache.statistics.fetchedBytes).toBe(2 * MiB);
    expect(store.requests.getRange).toBe(8);
  });
});

test('the budget is shared out equally, and what is in flight has a bound of its own', () => {
  const budget = new ReadAheadBudget(8 * MiB);
  const leave = [budget.join(), budget.join()];
  expect(budget.windowBytes).toBe(4 * MiB);
  leave[0]?.();
  expect(budget.windowBytes).toBe(8 * MiB);
  expect(budget.take(6 * MiB)).toBe(6 * MiB);
  expect(budget.take(6 * MiB)).toBe(2 * MiB);
  expect(budget.take(1)).toBe(0);
  budget.give(3 * MiB);
  expect(budget.inFlightBytes).toBe(5 * MiB);
  expect(new ReadAheadBudget(GiB).windowBytes).toBe(READ_AHEAD_MAX_BYTES);
});
