import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { seededRandom } from '../../src/demo/random.ts';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { createLimitingObjectStore, RequestLimiter } from '../../src/ecs/limiting-object-store.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { createRetryingObjectStore } from '../../src/ecs/retrying-object-store.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { FsError, UserError } from '../../src/errors.ts';
import { BucketRoot } from '../../src/fuse/tree/bucket-root.ts';
import { BucketContext } from '../../src/fuse/tree/context.ts';
import { InvalidationRelay } from '../../src/fuse/tree/invalidation.ts';
import { ItemsMemory } from '../../src/fuse/tree/items-memory.ts';
import { Problems } from '../../src/fuse/tree/problems.ts';
import {
  BLOCK_BYTES,
  KiB,
  MiB,
  REQUEST_TIMEOUT_MS,
  SHORT_TRIES_MAX,
  STORE_TRIES_MAX,
} from '../../src/limits.ts';
import { silentLogger } from '../../src/log.ts';
import { base64, folderOf, freezeTo, onlyDataset, readBack } from '../freeze/support.ts';
import { copied } from '../support/copied.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import {
  type FaultSchedule,
  type FaultyProxy,
  type NetworkFault,
  passingFaults,
  startFaultyProxy,
} from '../support/faulty-proxy.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';
import { contentOf, fileAt, namesIn, never, OWNERSHIP, TIME } from '../support/tree.ts';

/** Silence that counts as a failure: short, so that tests of it are. */
const SILENCE_MS = 1_000;
const CACHE_BYTES = 2 * MiB;

const ITEMS: Readonly<Record<string, Buffer>> = {
  'big.bin': randomBytesOf(1, 3 * MiB + 17),
  'sub/odd.bin': randomBytesOf(2, 700_001),
  'sub/block.bin': randomBytesOf(3, BLOCK_BYTES),
  small: randomBytesOf(4, 10 * KiB),
  tiny: Buffer.from('t'),
  empty: Buffer.alloc(0),
};
/** What is checked against its MD5 when it is fetched: see SEMANTICS.md. */
const VERIFIED: ReadonlySet<string> = new Set(
  Object.entries(ITEMS)
    .filter(([, { length }]) => length > 0 && length <= BLOCK_BYTES)
    .map(([relpath]) => identifierOf(relpath)),
);

/** Faults at random, for a share of the requests. */
function randomFaults(random: () => number, share: number): FaultSchedule {
  const upTo = (count: number): number => Math.floor(random() * count);
  const faults: readonly ((url: string) => NetworkFault | undefined)[] = [
    ...passingFaults(upTo, 4),
    () => ({ kind: 'status', status: 403, code: 'ExpiredToken' }),
    (url) => (isItem(url) ? { kind: 'status', status: 404, code: 'NoSuchKey' } : undefined),
    (url) => (isItem(url) || isList(url) ? { kind: 'page' } : undefined),
    () => ({ kind: 'wrong-range' }),
    (url) => (isVerified(url) ? { kind: 'wrong-byte', at: upTo(1) } : undefined),
    // Each costs the time of a silence.
    () => (random() < 0.1 ? { kind: 'stall', ...(random() < 0.5 ? { bytes: upTo(1000) } : {}) } : undefined),
  ];
  return (_, url) => (random() < share ? faults[upTo(faults.length)]?.(url) : undefined);
}

const isItem = (url: string): boolean => url.includes('/data/');
const isList = (url: string): boolean => url.includes('list-type=2');
const isVerified = (url: string): boolean => VERIFIED.has(/\/data\/([0-9a-f]{40})/.exec(url)?.[1] ?? '');

let bucket: TestBucket;
let proxy: FaultyProxy;
let limiter: RequestLimiter;
let s3: S3ObjectStore;
let clock: InstantClock;
let direct: S3ObjectStore;

beforeEach(async () => {
  bucket = await createEmbeddedBucket();
  proxy = await startFaultyProxy(bucket.server?.endpoint ?? '');
  limiter = new RequestLimiter();
  clock = new InstantClock();
  const open = (endpoint: string, silenceTimeoutMs: number): S3ObjectStore =>
    createS3ObjectStore({
      bucket: bucket.bucket,
      endpoint,
      credentials: async () => ({
        accessKeyId: bucket.env[`DTOOL_ECS_ACCESS_KEY_ID_${bucket.bucket}`] ?? '',
        secretAccessKey: bucket.env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`] ?? '',
      }),
      silenceTimeoutMs,
    });
  s3 = open(proxy.endpoint, SILENCE_MS);
  direct = open(bucket.server?.endpoint ?? '', REQUEST_TIMEOUT_MS);
});
afterEach(async () => {
  s3.close();
  direct.close();
  await proxy.close();
  await bucket.close();
});

/** As a mount has it, but that the waits between tries take no time and tries are few, so that errors get through. */
function resilient(tries: number): ObjectStore {
  return createRetryingObjectStore(createLimitingObjectStore(s3, limiter), { clock, tries });
}

function mountedTree(tries: number): {
  readonly root: BucketRoot['directory'];
  readonly lifetime: AbortController;
} {
  const lifetime = new AbortController();
  const context = new BucketContext(resilient(tries), {
    cache: new BlockCache(CACHE_BYTES),
    itemsMemory: new ItemsMemory(MiB),
    ownership: OWNERSHIP,
    problems: new Problems(silentLogger),
    clock,
    lifetime: lifetime.signal,
    refreshMs: 1_000,
    invalidation: new InvalidationRelay(),
  });
  const root = new BucketRoot(context, { isMountRoot: true, time: TIME, likelyPrefix: '' });
  return { root: root.directory, lifetime };
}

describe('reading over a network that fails', () => {
  test('is right or an honest error, and right again when the network is', { timeout: 240_000 }, async () => {
    await bucket.putDataset(datasetOf('data', ITEMS));
    let succeeded = 0;
    let failed = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.double({ min: 0.1, max: 0.8, noNaN: true }),
        async (seed, share) => {
          const random = seededRandom(seed);
          const { root, lifetime } = mountedTree(2);
          // A dataset whose name cannot be asked for is not there until it can: this one has been seen.
          expect(await namesIn(root)).toContain('data');
          proxy.setSchedule(randomFaults(random, share));
          const readOnce = async (): Promise<void> => {
            const [relpath, truth] = Object.entries(ITEMS)[Math.floor(random() * 6)] ?? ['', Buffer.alloc(0)];
            const offset = Math.floor(random() * (truth.length + 2));
            const length = 1 + Math.floor(random() ** 3 * MiB);
            try {
              const file = await fileAt(root, `data/data/${relpath}`);
              const open = await file.open(never, 'read');
              try {
                const read = await open.read(offset, length, never, copied);
                expect(
                  read.equals(truth.subarray(offset, offset + length)),
                  `${relpath} ${offset}+${length}`,
                ).toBe(true);
                succeeded += 1;
              } finally {
                open.close();
              }
            } catch (error) {
              if (!(error instanceof FsError)) throw error;
              expect(['EIO', 'EACCES'], error.message).toContain(error.code);
              failed += 1;
            }
          };
          for (let round = 0; round < 50; round += 1) {
            proxy.setAway(random() < 0.1);
            await Promise.all(Array.from({ length: 12 }, readOnce));
          }
          proxy.setAway(false);
          proxy.setSchedule(undefined);
          // Connections that were reset while nobody used them are noticed by their next users, whose tries are few here.
          await expect.poll(async () => namesIn(root)).toContain('data');
          for (const [relpath, truth] of Object.entries(ITEMS)) {
            const isRight = async (): Promise<boolean> =>
              (await contentOf(await fileAt(root, `data/data/${relpath}`))).equals(truth);
            await expect.poll(isRight).toBe(true);
          }
          await expect.poll(() => limiter.depth).toEqual(new RequestLimiter().depth);
          lifetime.abort();
        },
      ),
      // The network is never the same twice: looking for a smaller example takes minutes and means nothing.
      { numRuns: 6, endOnFailure: true, interruptAfterTimeLimit: 200_000 },
    );
    process.stderr.write(
      `reads: ${succeeded} right, ${failed} failed; faults: ${JSON.stringify([...proxy.counts])}\n`,
    );
    expect(succeeded).toBeGreaterThan(1_000);
    expect(failed).toBeGreaterThan(50);
  });
});

describe('one fault that does not end, and then does', () => {
  const faults: Readonly<Record<string, readonly [NetworkFault, 'EIO' | 'EACCES' | undefined]>> = {
    delay: [{ kind: 'delay', ms: 5 }, undefined],
    stall: [{ kind: 'stall' }, 'EIO'],
    'stall in the body': [{ kind: 'stall', bytes: 10 }, 'EIO'],
    reset: [{ kind: 'reset' }, 'EIO'],
    'lost answer': [{ kind: 'lost-answer' }, 'EIO'],
    truncation: [{ kind: 'truncate', bytes: 5_000 }, 'EIO'],
    '500': [{ kind: 'status', status: 500, code: 'InternalError' }, 'EIO'],
    '503 SlowDown': [{ kind: 'status', status: 503, code: 'SlowDown' }, 'EIO'],
    '429': [{ kind: 'status', status: 429, code: 'TooManyRequests' }, 'EIO'],
    'expired keys': [{ kind: 'status', status: 403, code: 'ExpiredToken' }, 'EACCES'],
    '404': [{ kind: 'status', status: 404, code: 'NoSuchKey' }, 'EIO'],
    'a page': [{ kind: 'page' }, 'EIO'],
    'a wrong range': [{ kind: 'wrong-range' }, 'EIO'],
    'a wrong byte': [{ kind: 'wrong-byte', at: 3 }, 'EIO'],
  };
  for (const [name, [fault, code]] of Object.entries(faults)) {
    test(name, async () => {
      await bucket.putDataset(datasetOf('data', ITEMS));
      const { root, lifetime } = mountedTree(2);
      const file = await fileAt(root, 'data/data/small');
      proxy.setSchedule((_, url) => (isItem(url) ? fault : undefined));
      const read = contentOf(file);
      if (code) await expect(read).rejects.toMatchObject({ code });
      else expect((await read).equals(ITEMS['small'] ?? Buffer.alloc(0))).toBe(true);
      proxy.setSchedule(undefined);
      expect((await contentOf(file)).equals(ITEMS['small'] ?? Buffer.alloc(0))).toBe(true);
      lifetime.abort();
    });
  }
});

describe('a range at the end of an item that is answered as if the item ended before', () => {
  // The last block has one byte, so that the next range is beyond the end.
  const items = { tail: randomBytesOf(5, 2 * BLOCK_BYTES + 1) };
  const readTail = async (): Promise<Buffer> => {
    await bucket.putDataset(datasetOf('data', items));
    const { root, lifetime } = mountedTree(STORE_TRIES_MAX);
    const file = await (await fileAt(root, 'data/data/tail')).open(never, 'read');
    try {
      return await file.read(2 * BLOCK_BYTES, 1, never, copied);
    } finally {
      file.close();
      lifetime.abort();
    }
  };

  test('is asked for again', async () => {
    let wrong = 0;
    proxy.setSchedule((_, url) => {
      wrong += isItem(url) ? 1 : 0;
      return isItem(url) && wrong < SHORT_TRIES_MAX ? { kind: 'wrong-range' } : undefined;
    });
    expect(await readTail()).toEqual(items.tail.subarray(-1));
    expect(proxy.counts.get('wrong-range')).toBe(SHORT_TRIES_MAX - 1);
  });

  test('is an error soon when that does not end', async () => {
    proxy.setSchedule((_, url) => (isItem(url) ? { kind: 'wrong-range' } : undefined));
    await expect(readTail()).rejects.toMatchObject({ code: 'EIO' });
    expect(proxy.counts.get('wrong-range')).toBe(SHORT_TRIES_MAX);
    expect(clock.sleeps.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(1_000);
  });
});

describe('freezing over a network that fails', () => {
  test('ends in the one right dataset, after as many tries as it takes', { timeout: 120_000 }, async () => {
    let tries = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 31 - 1 }), async (seed) => {
        for (const { key } of (await direct.listPage({ prefix: '' })).objects) await direct.delete(key);
        const random = seededRandom(seed);
        const files = {
          'a.bin': randomBytesOf(seed, 2 * MiB + 3),
          'b/c.txt': `text of ${seed}`,
          'b/ü': '',
          ...Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`many/${n}`, `${n}`])),
        };
        const directory = await folderOf(files);
        const answered = randomFaults(random, 0.3);
        for (;;) {
          proxy.setSchedule(tries % 20 === 19 ? undefined : answered);
          tries += 1;
          try {
            const { outcome } = await freezeTo(resilient(3), directory);
            expect(outcome).toMatch(/^(frozen|already-frozen)$/);
            break;
          } catch (error) {
            // What else is thrown is a mistake of ours.
            if (!(error instanceof FsError || error instanceof UserError)) throw error;
            expect(error.message).not.toBe('');
          }
        }
        proxy.setSchedule(undefined);
        const entry = await onlyDataset(direct);
        expect(entry.admin.type).toBe('dataset');
        expect(Object.fromEntries(await readBack(direct, entry))).toEqual(
          Object.fromEntries(
            Object.entries(files).map(([path, content]) => [path, base64(Buffer.from(content))]),
          ),
        );
      }),
      { numRuns: 4, endOnFailure: true, interruptAfterTimeLimit: 100_000 },
    );
    expect(tries).toBeGreaterThan(4);
    process.stderr.write(`freezes: ${tries} tries for 4 datasets\n`);
  });
});

test('a page in place of the answer to a put is no success: nothing was stored', async () => {
  await bucket.put('there', 'before');
  proxy.setSchedule((method) => (method === 'PUT' ? { kind: 'page' } : undefined));
  await expect(resilient(2).put('there', Buffer.from('after'))).rejects.toMatchObject({
    reason: 'bad-response',
  });
  proxy.setSchedule(undefined);
  expect((await direct.get('there', 100)).body.toString()).toBe('before');
});
