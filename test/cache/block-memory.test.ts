import { setMaxListeners } from 'node:events';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import type { Content } from '../../src/cache/block-key.ts';
import { BlockMemory, HeldBlocks } from '../../src/cache/block-memory.ts';
import { BlockSource } from '../../src/cache/block-source.ts';
import { DiskStore } from '../../src/cache/disk-store.ts';
import type { RangeOptions } from '../../src/ecs/object-store.ts';
import { BLOCK_BYTES, MiB } from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { copied } from '../support/copied.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { inlineDiskTasks } from '../support/inline-disk-tasks.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { scaled } from '../support/full.ts';

const TIME_MAX_MS = scaled({ usual: 90_000, full: 900_000 });

const never = new AbortController().signal;
setMaxListeners(0, never);

const turn = async (): Promise<void> =>
  new Promise((next) => {
    setImmediate(next);
  });

test('memory is used again when the last holder has let go, and not before', () => {
  const memory = new BlockMemory(BLOCK_BYTES);
  const [taker, reader] = [{}, {}];
  const first = memory.take(BLOCK_BYTES, taker);
  memory.hold(first, reader);
  memory.release(first, taker);
  expect(memory.freeBytes).toBe(0);
  memory.release(first, reader);
  expect(memory.freeBytes).toBe(BLOCK_BYTES);
  expect(memory.take(BLOCK_BYTES, taker).buffer).toBe(first.buffer);
  expect(memory.freeBytes).toBe(0);
});

test('to let go twice, or of a block that was, does not let go for others', () => {
  const memory = new BlockMemory(4 * BLOCK_BYTES);
  const [taker, reader] = [{}, {}];
  const first = memory.take(BLOCK_BYTES, taker);
  memory.hold(first, reader);
  memory.release(first, taker);
  memory.release(first, taker);
  expect(memory.freeBytes).toBe(0);
  memory.release(first, reader);
  const second = memory.take(BLOCK_BYTES, taker);
  expect(second.buffer).toBe(first.buffer);
  memory.release(first, taker);
  memory.hold(first, reader);
  memory.release(first, reader);
  expect(memory.freeBytes).toBe(0);
});

test('what is not a whole block, not from here or beyond the bound is not kept', () => {
  const memory = new BlockMemory(BLOCK_BYTES);
  const taker = {};
  memory.release(memory.take(BLOCK_BYTES - 1, taker), taker);
  const foreign = Buffer.alloc(BLOCK_BYTES);
  memory.hold(foreign, taker);
  memory.release(foreign, taker);
  expect(memory.freeBytes).toBe(0);
  const blocks = [memory.take(BLOCK_BYTES, taker), memory.take(BLOCK_BYTES, taker)];
  for (const block of blocks) memory.release(block, taker);
  expect(memory.freeBytes).toBe(BLOCK_BYTES);
  memory.clear();
  expect(memory.freeBytes).toBe(0);
});

test('who is through with his blocks gets no more of them', () => {
  const memory = new BlockMemory(BLOCK_BYTES);
  const taker = {};
  const block = memory.take(BLOCK_BYTES, taker);
  const held = new HeldBlocks(memory);
  held[Symbol.dispose]();
  expect(held.hold(block)).toBe(false);
  memory.release(block, taker);
  expect(memory.freeBytes).toBe(BLOCK_BYTES);
});

test('no two blocks that somebody holds ever have the same memory', () => {
  const step = fc.record({
    holder: fc.nat(3),
    block: fc.nat(30),
    act: fc.constantFrom('take', 'hold', 'let go'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const memory = new BlockMemory(3 * BLOCK_BYTES);
      const holders = [{}, {}, {}, {}];
      const taken: { readonly block: Uint8Array; readonly by: Set<object> }[] = [];
      for (const { holder, block, act } of steps) {
        const who = holders[holder] ?? {};
        const one = taken[block];
        if (act === 'take') taken.push({ block: memory.take(BLOCK_BYTES, who), by: new Set([who]) });
        else if (act === 'let go' && one) {
          memory.release(one.block, who);
          one.by.delete(who);
        } else if (act === 'hold' && one && one.by.size > 0) {
          memory.hold(one.block, who);
          one.by.add(who);
        }
        const live = taken.filter(({ by }) => by.size > 0).map(({ block: { buffer } }) => buffer);
        expect(new Set(live).size).toBe(live.length);
      }
    }),
    { numRuns: 200 },
  );
});

/** A store that spoils the memory it is given before it fills it, piece by piece with pauses, and fails at times. */
class SpoilingStore extends MemoryObjectStore {
  readonly memories = new Set<ArrayBufferLike>();
  targets = 0;
  #state: number;

  constructor(seed: number) {
    super();
    this.#state = seed;
  }

  random(below: number): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    return this.#state % below;
  }

  override async getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    options: RangeOptions = {},
  ): ReturnType<MemoryObjectStore['getRange']> {
    for (const target of targets) {
      this.targets += 1;
      this.memories.add(target.buffer);
      target.fill(0xee);
    }
    let from = offset;
    for (const [index, target] of targets.entries()) {
      for (let pause = this.random(3); pause > 0; pause -= 1) await turn();
      options.signal?.throwIfAborted();
      if (this.random(60) === 0) throw this.error('timeout', key);
      const info = await super.getRange(key, from, [target], options);
      from += target.length;
      if (index === targets.length - 1) return info;
      options.onFilled?.(index + 1, info);
    }
    throw new Error('no targets');
  }
}

test(
  'whoever reads sees what he asked for and never what came after it, whatever is dropped meanwhile',
  async () => {
    const blocks = 24;
    const body = randomBytesOf(1, blocks * BLOCK_BYTES + 1_000);
    const readOf = fc.record({
      block: fc.nat(blocks),
      shift: fc.nat(BLOCK_BYTES),
      length: fc.integer({ min: 1, max: 5 * BLOCK_BYTES }),
      act: fc.constantFrom('read', 'read', 'read', 'give up', 'fetch ahead'),
      pause: fc.nat(3),
    });
    const seeds = fc.integer({ min: 1, max: 2_147_483_646 });
    let used = 0;
    let memories = 0;
    let targets = 0;
    await fc.assert(
      fc.asyncProperty(
        seeds,
        fc.integer({ min: 8, max: 24 }),
        fc.array(readOf, { minLength: 20, maxLength: 60 }),
        async (seed, room, reads) => {
          const store = new SpoilingStore(seed);
          store.seed('key', body);
          const content: Content = { id: 'content', key: 'key', size: body.length };
          const cache = new BlockCache(room * BLOCK_BYTES);
          const reading: Promise<unknown>[] = [];
          for (const { block, shift, length, act, pause } of reads) {
            const offset = block * BLOCK_BYTES + shift;
            const stop = new AbortController();
            if (act === 'fetch ahead')
              reading.push(cache.prefetch(store, content, offset, length, stop.signal));
            else {
              const one = cache.read(store, content, offset, length, stop.signal, (parts) => {
                used += 1;
                const truth = body.subarray(offset, offset + length);
                if (!Buffer.concat(parts).equals(truth)) throw new Error(`wrong bytes at ${offset}`);
              });
              reading.push(one.catch((error: unknown) => String(error)));
            }
            for (let turns = pause; turns > 0; turns -= 1) await turn();
            if (act === 'give up') stop.abort();
          }
          const errors = (await Promise.all(reading)).filter((error) => typeof error === 'string');
          expect(errors.filter((error) => !/injected timeout|aborted/.test(error))).toEqual([]);
          memories += store.memories.size;
          targets += store.targets;
        },
      ),
      { numRuns: scaled({ usual: 30, full: 500 }), interruptAfterTimeLimit: TIME_MAX_MS * 0.8 },
    );
    // Or else nothing was shown.
    expect(used).toBeGreaterThan(0);
    expect(memories).toBeLessThan(targets * 0.8);
  },
  TIME_MAX_MS,
);

test('what waits for the disk is written as it came, whatever is dropped and read meanwhile', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'block-memory-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  let opened: () => void = () => {};
  let waits: Promise<void> | undefined;
  const open = async (): Promise<DiskStore> =>
    DiskStore.open({
      directory,
      maxBytes: 256 * MiB,
      queueMaxBytes: 256 * MiB,
      tasks: {
        ...inlineDiskTasks,
        trim: async (...given) => {
          await waits;
          return inlineDiskTasks.trim(...given);
        },
      },
      clock: new ManualClock(),
      log: silentLogger,
    });
  const body = randomBytesOf(2, 40 * BLOCK_BYTES);
  const store = new SpoilingStore(1);
  store.getRange = async (key, offset, targets, options) => {
    for (const { buffer } of targets) store.memories.add(buffer);
    store.targets += targets.length;
    return MemoryObjectStore.prototype.getRange.call(store, key, offset, targets, options);
  };
  store.seed('key', body);
  const md5 = createHash('md5').update(body).digest('hex');
  const content: Content = { id: 'content', key: 'key', size: body.length, md5 };
  const damaged: string[] = [];
  const onDamaged = (_bucket: string, _key: string, reason: string): void => void damaged.push(reason);
  const disk = await open();
  const cache = new BlockCache(8 * BLOCK_BYTES, new BlockSource({ disk, onDamaged }));
  waits = new Promise((resolve) => {
    opened = resolve;
  });
  for (let round = 0; round < 3; round += 1) {
    for (let block = 0; block < 40; block += 1) {
      const read = await cache.read(store, content, block * BLOCK_BYTES, BLOCK_BYTES, never, copied);
      expect(read.equals(body.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES))).toBe(true);
    }
  }
  opened();
  await disk.close();
  expect(store.memories.size).toBeLessThan(store.targets);
  const next = await open();
  const memory = new BlockMemory();
  const source = new BlockSource({ disk: next });
  const numbers = Array.from({ length: 40 }, (_, number) => number);
  const onDisk = await next.read(source.nameOf(store, content), numbers, memory);
  expect(onDisk.size).toBe(40);
  for (const [block, { bytes }] of onDisk) {
    expect(
      Buffer.from(bytes).equals(body.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)),
      `${block}`,
    ).toBe(true);
  }
  expect(damaged).toEqual([]);
  await next.close();
});
