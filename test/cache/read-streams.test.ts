import { setMaxListeners } from 'node:events';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { ContentReader } from '../../src/cache/read-ahead.ts';
import { RequestLimiter, createLimitingObjectStore } from '../../src/ecs/limiting-object-store.ts';
import {
  BLOCK_BYTES,
  GiB,
  KiB,
  MiB,
  READ_AHEAD_CACHE_PARTS,
  READ_AHEAD_MAX_BYTES,
} from '../../src/limits.ts';
import { seededRandom } from '../../src/demo/random.ts';
import { copied } from '../support/copied.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

const KEY = 'item';
const READ_BYTES = 128 * KiB;
const LATENCY_MS = 20;
const never = new AbortController().signal;
setMaxListeners(0, never);

/** An object of any size whose bytes are whatever the targets hold; notes what was asked for. */
class EndlessStore extends MemoryObjectStore {
  readonly asked: { readonly offset: number; readonly length: number }[] = [];
  readonly #size: number;
  readonly #answer: () => Promise<void>;

  constructor(size: number, answer: () => Promise<void> = async () => {}) {
    super();
    this.#size = size;
    this.#answer = answer;
  }

  override async getRange(key: string, offset: number, targets: readonly Uint8Array[]) {
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    this.asked.push({ offset, length });
    await this.#answer();
    return { size: this.#size, etag: '', lastModified: 0, metadata: {}, key };
  }

  get bytes(): number {
    return this.asked.reduce((sum, { length }) => sum + length, 0);
  }
}

function open(size: number, cacheBytes = GiB, answer?: () => Promise<void>) {
  const store = new EndlessStore(size, answer);
  const cache = new BlockCache(cacheBytes);
  const reader = new ContentReader(cache, store, { id: 'content', key: KEY, size });
  const read = async (offset: number, length = READ_BYTES): Promise<void> => {
    await reader.read(offset, length, never, copied);
    await idle();
  };
  return { store, cache, reader, read };
}

async function idle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test('after 16 MiB in sequence nobody waits for a round trip of 20 ms any more', async () => {
  const clock = new ManualClock();
  const size = 128 * MiB;
  const { reader } = open(size, GiB, () => clock.sleep(LATENCY_MS));
  let waits = 0;
  // A reader that takes a quarter of a millisecond for 128 KiB: 500 MiB/s.
  for (let offset = 0; offset < size; offset += READ_BYTES) {
    const progress = { isRead: false };
    const read = async (): Promise<void> => {
      await reader.read(offset, READ_BYTES, never, copied);
      progress.isRead = true;
    };
    const reading = read();
    await idle();
    while (!progress.isRead) {
      if (offset >= 16 * MiB) waits += 1;
      clock.advance(1);
      await idle();
    }
    await reading;
    if ((offset / READ_BYTES) % 4 === 3) clock.advance(1);
  }
  expect(waits).toBe(0);
});

test('1,000 random reads of 4 KiB in 1 GiB fetch at most a quarter of it', async () => {
  for (const seed of [1, 2, 3]) {
    const random = seededRandom(seed);
    const { store, read } = open(GiB);
    for (let index = 0; index < 1_000; index += 1) {
      await read(Math.floor(random() * (GiB / (4 * KiB))) * 4 * KiB, 4 * KiB);
    }
    expect(store.asked.length).toBeGreaterThan(500);
    expect(store.bytes).toBeLessThanOrEqual(GiB / 4);
  }
});

test('backward is fetched ahead, too, in large parts', async () => {
  const { store, read } = open(32 * MiB);
  for (let offset = 32 * MiB - READ_BYTES; offset >= 0; offset -= READ_BYTES) await read(offset);
  expect(store.bytes).toBe(32 * MiB);
  expect(store.asked.length).toBeLessThanOrEqual(24);
});

test('equal steps are foreseen, and what lies between them is not fetched', async () => {
  const { store, read } = open(GiB);
  const step = 10 * MiB;
  for (let index = 0; index < 100; index += 1) {
    const before = store.asked.length;
    await read(index * step, 4 * KiB);
    // From the fourth on what is read has been asked for before.
    if (index > 3)
      expect(store.asked.slice(before).some(({ offset }) => offset === index * step)).toBe(false);
  }
  expect(store.bytes).toBeLessThanOrEqual(100 * 2 * BLOCK_BYTES);
});

test('readers that share a handle are each followed', async () => {
  const { store, read } = open(128 * MiB);
  for (let offset = 0; offset < 32 * MiB; offset += READ_BYTES) {
    await read(offset);
    await read(64 * MiB + offset);
  }
  expect(store.bytes).toBeLessThanOrEqual(64 * MiB + 2 * READ_AHEAD_MAX_BYTES);
  expect(store.asked.length).toBeLessThanOrEqual(80);
});

test('a reader that joins what is fetched ahead makes it go first', async () => {
  const limiter = new RequestLimiter({ max: 2, reserved: 1 });
  const memory = new MemoryObjectStore();
  const started: string[] = [];
  for (const key of ['a', 'b', 'c']) memory.seed(key, key);
  const gate = memory.hold('getRange');
  const inner = memory.getRange.bind(memory);
  memory.getRange = async (key, offset, targets, options) => {
    started.push(key);
    return inner(key, offset, targets, options);
  };
  const store = createLimitingObjectStore(memory, limiter);
  const cache = new BlockCache(GiB);
  const content = (key: string) => ({ id: key, key, size: 1 });
  const ahead = ['a', 'b', 'c'].map(async (key) => cache.prefetch(store, content(key), 0, 1, never));
  await gate.reached(1);
  expect(started).toEqual(['a']);
  const reading = cache.read(store, content('c'), 0, 1, never, copied);
  await gate.reached(2);
  expect(started).toEqual(['a', 'c']);
  gate.release();
  expect((await reading).toString()).toBe('c');
  await Promise.all(ahead);
  expect(started).toEqual(['a', 'c', 'b']);
});

test('whatever is read, jumped to and closed, what is fetched ahead keeps to its bound and is given back', async () => {
  const act = fc.record({
    file: fc.nat(3),
    kind: fc.constantFrom('on', 'back', 'step', 'jump', 'close', 'answer'),
    place: fc.nat(255),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(act, { maxLength: 120 }),
      fc.integer({ min: 1, max: 64 }),
      async (acts, cacheMiB) => {
        const size = 256 * MiB;
        const store = new EndlessStore(size, () => gate());
        const waiting = new Set<() => void>();
        const gate = async (): Promise<void> =>
          new Promise((resolve) => {
            waiting.add(resolve);
          });
        const answer = async (): Promise<void> => {
          for (const resolve of waiting) resolve();
          waiting.clear();
          await idle();
        };
        const cache = new BlockCache(cacheMiB * MiB);
        const fileOf = (index: number) =>
          new ContentReader(cache, store, { id: `content ${index}`, key: KEY, size });
        const readers = [0, 1, 2, 3].map(fileOf);
        const at = [0, 0, 0, 0];
        const reading: Promise<unknown>[] = [];
        for (const { file, kind, place } of acts) {
          const here = at[file] ?? 0;
          if (kind === 'answer') await answer();
          else if (kind === 'close') {
            readers[file]?.close();
            readers[file] = fileOf(file);
          } else {
            const moves = {
              on: here + READ_BYTES,
              back: here - READ_BYTES,
              step: here + 3 * MiB,
              jump: place * MiB,
            };
            const offset = Math.min(size - READ_BYTES, Math.max(0, moves[kind]));
            at[file] = offset;
            const read = readers[file]?.read(offset, READ_BYTES, never, copied);
            if (read) reading.push(read);
          }
          const { inFlightBytes } = cache.readAhead;
          expect(inFlightBytes).toBeGreaterThanOrEqual(0);
          expect(inFlightBytes).toBeLessThanOrEqual((cacheMiB * MiB) / READ_AHEAD_CACHE_PARTS);
        }
        for (const reader of readers) reader.close();
        while (waiting.size > 0) await answer();
        await Promise.all(reading);
        await idle();
        expect(cache.readAhead.inFlightBytes).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});
