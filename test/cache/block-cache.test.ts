import { setMaxListeners } from 'node:events';
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { BlockSource } from '../../src/cache/block-source.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { decorate } from '../../src/ecs/decorated-object-store.ts';
import { FsError } from '../../src/errors.ts';
import {
  BLOCK_BYTES,
  BLOCK_OVERHEAD_BYTES,
  GiB,
  LENT_CACHE_PARTS,
  RANGED_GET_MAX_BYTES,
  SHORT_TRIES_MAX,
} from '../../src/limits.ts';
import { copied } from '../support/copied.ts';
import { roomFor } from '../support/cache-room.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

const KEY = 'item';
const RUN_BLOCKS = RANGED_GET_MAX_BYTES / BLOCK_BYTES;
const never = new AbortController().signal;
setMaxListeners(0, never);

function storeOf(body: Uint8Array, more: Partial<Content> = {}) {
  const store = new MemoryObjectStore();
  store.seed(KEY, body);
  const content: Content = { id: 'content', key: KEY, size: body.length, ...more };
  return { store, content };
}

/** Makes bodies come block by block, each of which can be held and fail as a request can. */
function inBlocks(store: MemoryObjectStore): void {
  const getRange = store.getRange.bind(store);
  store.getRange = async (key, offset, targets, options) => {
    let from = offset;
    for (const [index, target] of targets.entries()) {
      const info = await getRange(key, from, [target], options);
      if (index === targets.length - 1) return info;
      options?.onFilled?.(index + 1, info);
      from += target.length;
    }
    throw new Error('no targets');
  };
}

async function read(
  cache: BlockCache,
  { store, content }: ReturnType<typeof storeOf>,
  offset: number,
  length: number,
  signal = never,
): Promise<Buffer> {
  return cache.read(store, content, offset, length, signal, copied);
}

const code = async (reading: Promise<unknown>): Promise<string> =>
  reading.then(
    () => 'read',
    (error: unknown) => (error instanceof FsError ? error.code : String(error)),
  );

describe('reading', () => {
  test('any range, across blocks and past the end', async () => {
    const body = randomBytesOf(1, 3 * BLOCK_BYTES + 8);
    const source = storeOf(body);
    const cache = new BlockCache(GiB);
    for (const [offset, length] of [
      [0, 1],
      [BLOCK_BYTES - 1, 2],
      [BLOCK_BYTES, BLOCK_BYTES],
      [5, 3 * BLOCK_BYTES],
      [3 * BLOCK_BYTES, 100],
      [body.length, 10],
      [body.length + 1, 10],
      [7, 0],
    ] as const) {
      const expected = body.subarray(offset, offset + length);
      expect((await read(cache, source, offset, length)).equals(expected)).toBe(true);
    }
    expect(cache.statistics).toMatchObject({ blocks: 4, misses: 4, fetchedBytes: body.length });
  });

  test('neighbouring blocks come in one request, as long as one may be', async () => {
    const source = storeOf(Buffer.alloc(2 * RANGED_GET_MAX_BYTES + 1));
    const cache = new BlockCache(GiB);
    await read(cache, source, 0, RANGED_GET_MAX_BYTES);
    expect(source.store.requests.getRange).toBe(1);
    await read(cache, source, 0, source.content.size);
    expect(source.store.requests.getRange).toBe(3);
    await read(cache, source, 0, source.content.size);
    expect(source.store.requests.getRange).toBe(3);
    expect(cache.statistics.blocks).toBe(2 * RUN_BLOCKS + 1);
  });

  test('what lies between cached blocks is fetched without them', async () => {
    const source = storeOf(Buffer.alloc(5 * BLOCK_BYTES));
    const cache = new BlockCache(GiB);
    await read(cache, source, 2 * BLOCK_BYTES, 1);
    await read(cache, source, 0, 5 * BLOCK_BYTES);
    expect(source.store.requests.getRange).toBe(3);
    expect(cache.statistics.fetchedBytes).toBe(5 * BLOCK_BYTES);
  });
});

describe('readers of the same block', () => {
  test('share one request', async () => {
    const source = storeOf(Buffer.from('shared'));
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    const readers = Array.from({ length: 50 }, (_, index) => read(cache, source, index % 6, 1));
    await gate.reached();
    gate.release();
    expect(Buffer.concat(await Promise.all(readers)).toString()).toBe('shared'.repeat(9).slice(0, 50));
    expect(source.store.requests.getRange).toBe(1);
  });

  test('who leaves does not take the request along, the last one does', async () => {
    const source = storeOf(Buffer.from('shared'));
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    const [first, second] = [new AbortController(), new AbortController()];
    const readers = [first, second].map(async ({ signal }) => read(cache, source, 0, 6, signal));
    await gate.reached();
    first.abort();
    await expect(readers[0]).rejects.toThrow('aborted');
    expect(gate.waiting).toBe(1);
    second.abort();
    await expect(readers[1]).rejects.toThrow('aborted');
    expect(gate.waiting).toBe(0);
    gate.release();
    expect((await read(cache, source, 0, 6)).toString()).toBe('shared');
    expect(source.store.requests.getRange).toBe(2);
  });

  test('get a new request while an abandoned one has not ended yet', async () => {
    const source = storeOf(Buffer.from('shared'));
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    const getRange = source.store.getRange.bind(source.store);
    // A store that is slow to notice that its request was given up.
    source.store.getRange = async (key, offset, targets) => getRange(key, offset, targets);
    const stop = new AbortController();
    const abandoned = read(cache, source, 0, 6, stop.signal);
    stop.abort();
    await expect(abandoned).rejects.toThrow('aborted');
    const next = read(cache, source, 0, 6);
    await gate.reached(2);
    gate.release();
    expect((await next).toString()).toBe('shared');
    await read(cache, source, 0, 6);
    expect(source.store.requests.getRange).toBe(2);
  });

  test('a reader that has given up beforehand leaves no request behind', async () => {
    const source = storeOf(Buffer.from('shared'));
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    await expect(read(cache, source, 0, 6, AbortSignal.abort())).rejects.toThrow('aborted');
    expect(gate.waiting).toBe(0);
    gate.release();
  });

  test('join a prefetch of more than they want', async () => {
    const body = randomBytesOf(2, 4 * BLOCK_BYTES);
    const source = storeOf(body);
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    const stop = new AbortController();
    const prefetch = cache.prefetch(source.store, source.content, 0, body.length, stop.signal);
    const reader = read(cache, source, BLOCK_BYTES + 1, BLOCK_BYTES);
    await gate.reached();
    stop.abort();
    await prefetch;
    expect(gate.waiting).toBe(1);
    gate.release();
    expect((await reader).equals(body.subarray(BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 1))).toBe(true);
    expect(source.store.requests.getRange).toBe(1);
  });
});

describe('a body that stalls after its first block', () => {
  test('of all blocks of a flight, only those that are there are had', async () => {
    const body = randomBytesOf(6, 4 * BLOCK_BYTES);
    const source = storeOf(body);
    const cache = new BlockCache(GiB);
    inBlocks(source.store);
    let gate = source.store.hold('getRange');
    const stop = new AbortController();
    const whole = cache.prefetch(source.store, source.content, 0, body.length, stop.signal);
    const readers = [0, 1].map(async (block) => read(cache, source, block * BLOCK_BYTES, BLOCK_BYTES));
    await gate.reached();
    gate.release();
    gate = source.store.hold('getRange');
    expect((await readers[0])?.equals(body.subarray(0, BLOCK_BYTES))).toBe(true);
    await gate.reached();
    expect(cache.statistics).toMatchObject({ blocks: 1, fetchedBytes: BLOCK_BYTES });
    stop.abort();
    await whole;
    gate.release();
    gate = source.store.hold('getRange');
    expect((await readers[1])?.equals(body.subarray(BLOCK_BYTES, 2 * BLOCK_BYTES))).toBe(true);
    // Nobody waits for the rest any more.
    expect(gate.waiting).toBe(0);
    gate.release();
    expect(cache.statistics.blocks).toBe(2);
  });

  test('and then breaks: who has that block has it, who waits for another hears of it', async () => {
    const source = storeOf(Buffer.alloc(3 * BLOCK_BYTES, 'x'));
    const cache = new BlockCache(GiB);
    inBlocks(source.store);
    const gate = source.store.hold('getRange');
    const whole = cache.prefetch(source.store, source.content, 0, 3 * BLOCK_BYTES, never);
    const readers = [0, 2].map(async (block) => read(cache, source, block * BLOCK_BYTES, 1));
    await gate.reached();
    gate.release();
    const second = source.store.hold('getRange');
    expect((await readers[0])?.toString()).toBe('x');
    source.store.failNext('getRange', source.store.error('timeout'));
    second.release();
    await expect(readers[1]).rejects.toThrow('injected timeout');
    await whole;
    expect(cache.statistics.blocks).toBe(1);
    expect((await read(cache, source, 0, 3 * BLOCK_BYTES)).length).toBe(3 * BLOCK_BYTES);
  });
});

describe('a prefetch', () => {
  test('is over at once when it is given up, and its request with it', async () => {
    const source = storeOf(Buffer.alloc(BLOCK_BYTES));
    const cache = new BlockCache(GiB);
    const gate = source.store.hold('getRange');
    const stop = new AbortController();
    const prefetch = cache.prefetch(source.store, source.content, 0, BLOCK_BYTES, stop.signal);
    await gate.reached();
    stop.abort();
    await prefetch;
    expect(gate.waiting).toBe(0);
    gate.release();
  });

  test('that fails is silent, and the reader gets the next answer', async () => {
    const source = storeOf(Buffer.from('content'));
    const cache = new BlockCache(GiB);
    source.store.failNext('getRange', source.store.error('timeout'));
    await cache.prefetch(source.store, source.content, 0, 7, never);
    expect((await read(cache, source, 0, 7)).toString()).toBe('content');
  });
});

describe('an object that is not the content', () => {
  const body = Buffer.from('the content');
  const wrong: Readonly<Record<string, (store: MemoryObjectStore) => void>> = {
    missing: (store) => store.remove(KEY),
    longer: (store) => store.seed(KEY, 'the content and more'),
    shorter: (store) => store.seed(KEY, 'the'),
    'another of the same size': (store) => store.seed(KEY, 'the CONTENT'),
  };

  for (const [how, change] of Object.entries(wrong)) {
    test(`${how}: EIO, or ESTALE where it may be replaced; never cached`, async () => {
      const cache = new BlockCache(GiB);
      const md5 = createHash('md5').update(body).digest('hex');
      const fixed = storeOf(body, { md5 });
      change(fixed.store);
      expect(await code(read(cache, fixed, 0, 3))).toBe('EIO');
      const replaceable = storeOf(body, { id: 'replaceable', etag: md5 });
      change(replaceable.store);
      expect(await code(read(cache, replaceable, 0, 3))).toBe('ESTALE');
      expect(cache.statistics.blocks).toBe(0);
      fixed.store.seed(KEY, body);
      expect((await read(cache, fixed, 0, 3)).toString()).toBe('the');
    });
  }

  test.each(['longer', 'another of the same size'])(
    '%s: is asked for again before that is believed, and a reader of what is right then sees a wait',
    async (how) => {
      const md5 = createHash('md5').update(body).digest('hex');
      const clock = new InstantClock();
      for (const wrongAnswers of [1, SHORT_TRIES_MAX - 1, SHORT_TRIES_MAX]) {
        const { store: memory, content } = storeOf(body, { md5 });
        let answers = 0;
        const store = decorate(memory, async ({ operation }, run) => {
          if (operation === 'getRange') {
            if (answers < wrongAnswers) wrong[how]?.(memory);
            else memory.seed(KEY, body);
            answers += 1;
          }
          return run();
        });
        const cache = new BlockCache(GiB, new BlockSource({ clock }));
        const reading = cache.read(store, content, 0, body.length, never, copied);
        if (wrongAnswers < SHORT_TRIES_MAX) expect((await reading).toString()).toBe(body.toString());
        else expect(await code(reading)).toBe('EIO');
        expect(memory.requests.getRange).toBe(Math.min(wrongAnswers + 1, SHORT_TRIES_MAX));
      }
      // Six waits in all, below a second where it is believed.
      expect(clock.sleeps.length).toBe(1 + 2 * (SHORT_TRIES_MAX - 1));
      expect(clock.sleeps.slice(-3).reduce((sum, ms) => sum + ms, 0)).toBeLessThan(1_000);
    },
  );

  test('a bucket that is gone is EIO, never ENOENT', async () => {
    const source = storeOf(body);
    source.store.failNext('getRange', source.store.error('no-such-bucket', KEY));
    expect(await code(read(new BlockCache(GiB), source, 0, 3))).toBe('EIO');
  });

  test('what the store refuses stays EACCES', async () => {
    const source = storeOf(body);
    source.store.failNext('getRange', source.store.error('access-denied', KEY));
    expect(await code(read(new BlockCache(GiB), source, 0, 3))).toBe('EACCES');
  });
});

describe('the bound', () => {
  test('holds, and small blocks count with what they take besides their bytes', async () => {
    const store = new MemoryObjectStore();
    const maxBytes = 4 * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES);
    const cache = new BlockCache(roomFor(4));
    for (let index = 0; index < 2_000; index += 1) {
      store.seed(`${index}`, 'x');
      await cache.read(store, { id: `${index}`, key: `${index}`, size: 1 }, 0, 1, never, copied);
      expect(cache.statistics.bytes).toBeLessThanOrEqual(maxBytes);
    }
    expect(cache.statistics.blocks).toBe(Math.floor(maxBytes / (BLOCK_OVERHEAD_BYTES + 1)));
  });

  test('drops what was not read for the longest time', async () => {
    const source = storeOf(Buffer.alloc(3 * BLOCK_BYTES));
    const cache = new BlockCache(roomFor(2));
    for (const block of [0, 1, 0, 2, 0]) await read(cache, source, block * BLOCK_BYTES, 1);
    expect(source.store.requests.getRange).toBe(3);
    await read(cache, source, BLOCK_BYTES, 1);
    expect(source.store.requests.getRange).toBe(4);
  });

  test('is for all blocks together: those that were read leave room for those on their way', async () => {
    const source = storeOf(Buffer.alloc(64 * BLOCK_BYTES));
    const maxBytes = 32 * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES);
    const cache = new BlockCache(maxBytes);
    for (let block = 0; block < 64; block += 1) await read(cache, source, block * BLOCK_BYTES, 1);
    expect(cache.readAhead.windowBytes).toBeGreaterThanOrEqual(4 * BLOCK_BYTES);
    expect(cache.statistics.bytes + cache.readAhead.windowBytes).toBeLessThanOrEqual(maxBytes);
  });

  test('leaves room for what others have borrowed, but for a part of it', async () => {
    const source = storeOf(Buffer.alloc(32 * BLOCK_BYTES));
    const cache = new BlockCache(roomFor(16));
    const readAll = async () => read(cache, source, 0, 32 * BLOCK_BYTES);
    await readAll();
    const blocks = cache.statistics.blocks;
    expect(blocks).toBe(16);
    const giveBack = cache.lend(4 * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES));
    expect(cache.statistics.blocks).toBe(12);
    await readAll();
    expect(cache.statistics.blocks).toBe(12);
    const giveMoreBack = cache.lend(GiB);
    expect(cache.statistics.blocks).toBe(16 / LENT_CACHE_PARTS);
    giveMoreBack();
    await readAll();
    expect(cache.statistics.blocks).toBe(12);
    giveBack();
    await readAll();
    expect(cache.statistics.blocks).toBe(16);
  });

  test('a cache that holds not even one block still reads', async () => {
    const body = randomBytesOf(3, 2 * BLOCK_BYTES);
    const cache = new BlockCache(1);
    expect((await read(cache, storeOf(body), 0, body.length)).equals(body)).toBe(true);
    expect(cache.statistics.blocks).toBe(0);
  });
});

test('random concurrent reads with faults and cancellations give the truth or an error', async () => {
  const body = randomBytesOf(4, 6 * BLOCK_BYTES + 1_000);
  const readOf = fc.record({
    offset: fc.nat(body.length + 10),
    length: fc.nat(2 * BLOCK_BYTES),
    cancel: fc.boolean(),
    prefetch: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ reads: fc.array(readOf, { maxLength: 6 }), faults: fc.nat(2) }), { maxLength: 6 }),
      fc.integer({ min: 0, max: 4 }),
      async (rounds, cacheBlocks) => {
        const source = storeOf(body);
        const maxBytes = cacheBlocks * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES) + 1;
        const cache = new BlockCache(roomFor(cacheBlocks));
        inBlocks(source.store);
        for (const { reads, faults } of rounds) {
          const gate = source.store.hold('getRange');
          if (faults > 0) source.store.failNext('getRange', source.store.error('server-error'), faults);
          const running = reads.map(async ({ offset, length, cancel, prefetch }) => {
            const controller = new AbortController();
            const reading = prefetch
              ? cache.prefetch(source.store, source.content, offset, length, controller.signal)
              : read(cache, source, offset, length, controller.signal);
            if (cancel) controller.abort();
            return reading;
          });
          gate.release();
          const results = await Promise.allSettled(running);
          for (const [index, result] of results.entries()) {
            const { offset = 0, length = 0, cancel } = reads[index] ?? {};
            if (result.status === 'rejected') {
              if (!cancel) expect(String(result.reason)).toContain('injected');
            } else if (result.value) {
              expect(result.value.equals(body.subarray(offset, offset + length))).toBe(true);
            }
          }
          expect(cache.statistics.bytes).toBeLessThanOrEqual(maxBytes);
        }
      },
    ),
    { numRuns: 60 },
  );
});
