import { afterEach, describe, expect, test } from 'vitest';
import { BlockCache } from '../../../src/cache/block-cache.ts';
import { type SmallFile, SmallFilesAhead } from '../../../src/cache/small-files-ahead.ts';
import type { FileNode } from '../../../src/fuse/tree/node.ts';
import {
  BLOCK_BYTES,
  MiB,
  READ_AHEAD_CACHE_PARTS,
  READ_STREAMS_MAX,
  SMALL_FILES_AHEAD_MAX,
} from '../../../src/limits.ts';
import { copied } from '../../support/copied.ts';
import { datasetOf } from '../../support/datasets.ts';
import { type Gate, MemoryObjectStore } from '../../support/memory-object-store.ts';
import { fileAt, never, seedDataset, treeOf } from '../../support/tree.ts';

const COUNT = 500;
const nameOf = (index: number): string => `${String(index).padStart(3, '0')}.txt`;

let gate: Gate;
afterEach(() => gate.release());

/** Datasets of 500 small files whose requests all take one round trip, which ends when somebody has to wait for it. */
async function slow(folders = ['a'], more: Readonly<Record<string, Buffer>> = {}) {
  const { store, root, context } = treeOf();
  const names = Array.from({ length: COUNT }, (_, index) => nameOf(index));
  const files = folders.flatMap((folder) => names.map((name) => [`${folder}/${name}`, `${folder} ${name}`]));
  seedDataset(store, datasetOf('set', { ...Object.fromEntries(files), ...more }));
  const open = async (path: string): Promise<FileNode> => fileAt(root, `set/data/${path}`);
  await open(`${folders[0]}/${nameOf(0)}`);
  gate = store.hold('getRange');
  let roundTrips = 0;
  const read = async (path: string, length = 1_000): Promise<string> => {
    const file = await (await open(path)).open(never, 'read');
    let isRead = false;
    const reading = file.read(0, length, never, copied).finally(() => {
      isRead = true;
    });
    // Whatever need not wait for the store is through by then.
    await new Promise((next) => setImmediate(next));
    if (!isRead) {
      roundTrips += 1;
      gate.release();
      gate = store.hold('getRange');
    }
    const bytes = await reading;
    file.close();
    return bytes.toString();
  };
  return {
    read,
    readAhead: context.source.cache.readAhead,
    requests: () => store.requests.getRange,
    roundTrips: () => roundTrips,
  };
}

/** A permutation that is the same every time. */
function shuffled(count: number): readonly number[] {
  let state = 1;
  const random = (): number => (state = (state * 48_271) % 2_147_483_647);
  return Array.from({ length: count }, (_, index) => ({ index, key: random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ index }) => index);
}

describe('small files', () => {
  test('that are read one after the other come many at a time, each once', async () => {
    const { read, requests, roundTrips, readAhead } = await slow();
    for (let index = 0; index < COUNT; index += 1) {
      expect(await read(`a/${nameOf(index)}`)).toBe(`a ${nameOf(index)}`);
    }
    expect(roundTrips()).toBeLessThanOrEqual(20);
    expect(requests()).toBe(COUNT);
    expect(readAhead.inFlightBytes).toBe(0);
  });

  test('in two directories in turn, as well', async () => {
    const { read, requests, roundTrips } = await slow(['a', 'b']);
    for (let index = 0; index < COUNT; index += 1) {
      for (const folder of ['a', 'b']) await read(`${folder}/${nameOf(index)}`);
    }
    expect(roundTrips()).toBeLessThanOrEqual(40);
    expect(requests()).toBeLessThanOrEqual(2 * COUNT);
  });

  test('by several readers side by side, as well', async () => {
    const { read, requests, roundTrips } = await slow();
    for (let index = 0; index < COUNT; index += 4) {
      for (const other of [2, 1, 3, 0]) await read(`a/${nameOf(index + other)}`);
    }
    expect(roundTrips()).toBeLessThanOrEqual(40);
    expect(requests()).toBe(COUNT);
  });

  for (const step of [2, 4]) {
    test(`one in ${step} of them, as well, and none of the others`, async () => {
      const { read, requests, roundTrips } = await slow();
      for (let index = 0; index < COUNT; index += step) {
        expect(await read(`a/${nameOf(index)}`)).toBe(`a ${nameOf(index)}`);
      }
      expect(roundTrips()).toBeLessThanOrEqual(20);
      expect(requests()).toBe(COUNT / step);
    });
  }

  test('one in five of them fetch nothing ahead', async () => {
    const { read, requests, roundTrips } = await slow();
    for (let index = 0; index < COUNT; index += 5) await read(`a/${nameOf(index)}`);
    expect([roundTrips(), requests()]).toEqual([COUNT / 5, COUNT / 5]);
  });

  test('in steps that become others fetch nothing ahead that was not read thrice', async () => {
    const { read, requests } = await slow();
    for (const index of [0, 2, 3, 7, 9, 10]) await read(`a/${nameOf(index)}`);
    expect(requests()).toBe(6);
  });

  test('in the order of their numbers come ahead where most are next to each other', async () => {
    const names = Array.from({ length: 400 }, (_, index) => `numbers/file${index}`);
    const more = Object.fromEntries(names.map((name) => [name, Buffer.from(name)]));
    const { read, requests, roundTrips } = await slow(['a'], more);
    for (const name of names) expect(await read(name)).toBe(name);
    // Up to 99 they are far from each other.
    expect(roundTrips()).toBeLessThanOrEqual(150);
    expect(requests()).toBeLessThanOrEqual(names.length + 64);
  });

  test('in any order fetch next to nothing ahead', async () => {
    const { read, requests } = await slow();
    for (const index of shuffled(COUNT).slice(0, 100)) await read(`a/${nameOf(index)}`);
    expect(requests()).toBeLessThanOrEqual(110);
  });

  test('two that follow each other fetch two ahead, and no large ones', async () => {
    const large = Buffer.alloc(BLOCK_BYTES + 1);
    const { read, requests } = await slow(['a'], {
      'a/001.txu': large,
      'a/003.txu': large,
      'a/004.txu': large,
    });
    await read(`a/${nameOf(0)}`);
    await read(`a/${nameOf(0)}`);
    expect(requests()).toBe(1);
    await read(`a/${nameOf(1)}`);
    expect(requests()).toBe(4);
    await read('a/003.txu', 1);
    expect(requests()).toBe(5);
  });

  test('are given up when others are read here and there', async () => {
    const store = new MemoryObjectStore();
    gate = store.hold('getRange');
    const cache = new BlockCache(64 * MiB);
    const ahead = new SmallFilesAhead(cache, store);
    const next = (place: number): SmallFile => ({
      place: place + 1,
      content: { id: `${place + 1}`, key: `${place + 1}`, size: 1_000 },
    });
    for (let place = 0; place < 8; place += 1) ahead.read(place, next);
    expect(gate.waiting).toBe(SMALL_FILES_AHEAD_MAX + 6);
    for (let other = 1; other < READ_STREAMS_MAX; other += 1) ahead.read(1_000 * other, next);
    expect(gate.waiting).toBe(SMALL_FILES_AHEAD_MAX + 6);
    ahead.read(1_000 * READ_STREAMS_MAX, next);
    await new Promise((settled) => setImmediate(settled));
    expect(gate.waiting).toBe(0);
    expect(cache.readAhead.inFlightBytes).toBe(0);
  });

  test('never take more than read-ahead may have', () => {
    const store = new MemoryObjectStore();
    gate = store.hold('getRange');
    const cache = new BlockCache(8 * BLOCK_BYTES);
    const ahead = new SmallFilesAhead(cache, store);
    const next = (place: number): SmallFile => ({
      place: place + 1,
      content: { id: `${place + 1}`, key: `${place + 1}`, size: BLOCK_BYTES },
    });
    for (let place = 0; place < 100; place += 1) ahead.read(place, next);
    expect(gate.waiting).toBe(8 / READ_AHEAD_CACHE_PARTS);
    expect(cache.readAhead.inFlightBytes).toBe((8 / READ_AHEAD_CACHE_PARTS) * BLOCK_BYTES);
  });
});
