import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import {
  RETRY_AFTER_MAX_MS,
  RETRY_DELAY_MAX_MS,
  RETRY_DELAY_MIN_MS,
  SHORT_TRIES_MAX,
  STORE_TRIES_MAX,
} from '../../src/limits.ts';
import { decorate } from '../../src/ecs/decorated-object-store.ts';
import { StoreError, type StoreErrorReason } from '../../src/ecs/object-store.ts';
import { createRetryingObjectStore, retryDelayMs } from '../../src/ecs/retrying-object-store.ts';
import { describeObjectStore } from '../contract/object-store.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

describeObjectStore('the retrying store', async () => ({
  store: createRetryingObjectStore(new MemoryObjectStore(), { clock: new InstantClock() }),
  dispose: async () => {},
}));

function setUp() {
  const memory = new MemoryObjectStore();
  memory.seed('key', 'content');
  const clock = new InstantClock();
  return { memory, clock, store: createRetryingObjectStore(memory, { clock }) };
}

describe('the retrying store', () => {
  test.each(['throttled', 'server-error', 'timeout', 'unreachable', 'bad-response', 'bad-digest'] as const)(
    'repeats after %s',
    async (reason) => {
      const { memory, clock, store } = setUp();
      memory.failNext('get', memory.error(reason), 3);
      expect((await store.get('key', 10)).body.toString()).toBe('content');
      expect(memory.requests.get).toBe(4);
      expect(clock.sleeps.length).toBe(3);
    },
  );

  test.each([
    'no-such-key',
    'no-such-bucket',
    'access-denied',
    'unknown-access-key',
    'wrong-secret-key',
    'clock-skew',
    'precondition-failed',
    'too-large',
    'bad-request',
    'untrusted-certificate',
    'certificate-of-another-host',
    'certificate-out-of-date',
    'tls',
  ] as const)('believes %s', async (reason) => {
    const { memory, clock, store } = setUp();
    memory.failNext('head', memory.error(reason));
    await expect(store.head('key')).rejects.toMatchObject({ reason });
    expect(memory.requests.head).toBe(1);
    expect(clock.sleeps).toEqual([]);
  });

  test('an object that ends before the range is asked again, and then believed', async () => {
    const { memory, clock, store } = setUp();
    const target = Buffer.alloc(7);
    memory.failNext('getRange', memory.error('timeout'), SHORT_TRIES_MAX);
    memory.failNext('getRange', memory.error('short'), SHORT_TRIES_MAX - 1);
    await store.getRange('key', 0, [target]);
    expect(target.toString()).toBe('content');
    memory.failNext('getRange', memory.error('short'), SHORT_TRIES_MAX);
    await expect(store.getRange('key', 0, [target])).rejects.toMatchObject({ reason: 'short' });
    expect(memory.requests.getRange).toBe(3 * SHORT_TRIES_MAX);
    expect(clock.sleeps.length).toBe(3 * SHORT_TRIES_MAX - 2);
  });

  test('errors that are not the store’s are not repeated', async () => {
    const { memory, store } = setUp();
    const error = new Error('no credentials');
    memory.failNext('listPage', error);
    await expect(store.listPage({ prefix: '' })).rejects.toBe(error);
    expect(memory.requests.listPage).toBe(1);
  });

  test(`gives up after ${STORE_TRIES_MAX} tries with the last error`, async () => {
    const { memory, clock, store } = setUp();
    const last = memory.error('timeout');
    memory.failNext('delete', memory.error('throttled'), STORE_TRIES_MAX - 1);
    memory.failNext('delete', last);
    await expect(store.delete('key')).rejects.toBe(last);
    expect(memory.requests.delete).toBe(STORE_TRIES_MAX);
    expect(clock.sleeps.length).toBe(STORE_TRIES_MAX - 1);
  });

  test.each([
    [7_000, 7_000],
    [1e9, RETRY_AFTER_MAX_MS],
    [0, 0],
  ])(
    'a store that wants %i ms to itself has %i of them, and the usual pause',
    async (retryAfterMs, waitMs) => {
      const { memory, clock } = setUp();
      const store = createRetryingObjectStore(memory, { clock, random: () => 0 });
      memory.failNext(
        'get',
        new StoreError('throttled', { bucket: 'bucket', key: 'key' }, 'x', { retryAfterMs }),
      );
      await store.get('key', 10);
      expect(clock.sleeps).toEqual([waitMs + RETRY_DELAY_MIN_MS]);
    },
  );

  test('as many tries as told', async () => {
    const { memory, clock } = setUp();
    memory.failNext('head', memory.error('timeout'), 5);
    const store = createRetryingObjectStore(memory, { clock, tries: 2 });
    await expect(store.head('key')).rejects.toMatchObject({ reason: 'timeout' });
    expect(memory.requests.head).toBe(2);
  });

  test('tells of every repetition', async () => {
    const { memory, clock } = setUp();
    const told: unknown[] = [];
    const store = createRetryingObjectStore(memory, {
      clock,
      random: () => 0,
      onRetry: ({ operation, key }, { reason }, tries, delayMs) =>
        told.push([operation, key, reason, tries, delayMs]),
    });
    memory.failNext('get', memory.error('throttled'));
    memory.failNext('get', memory.error('timeout'));
    await store.get('key', 10);
    expect(told).toEqual([
      ['get', 'key', 'throttled', 1, RETRY_DELAY_MIN_MS],
      ['get', 'key', 'timeout', 2, RETRY_DELAY_MIN_MS],
    ]);
    expect(clock.sleeps).toEqual([RETRY_DELAY_MIN_MS, RETRY_DELAY_MIN_MS]);
  });

  test('a put is repeated, its stream opened anew', async () => {
    const { memory, store } = setUp();
    memory.failNext('put', memory.error('server-error'), 2);
    await store.put('new', Buffer.from('x'));
    expect([memory.requests.put, memory.peek('new')?.toString()]).toEqual([3, 'x']);
  });

  test.each<[StoreErrorReason, number]>([
    ['throttled', 2],
    ['bad-digest', 2],
    ['timeout', 1],
    ['unreachable', 1],
    ['server-error', 1],
    ['bad-response', 1],
  ])('a put with ifNoneMatch after %s is tried %i times', async (reason, tries) => {
    const { memory, store } = setUp();
    memory.failNext('put', memory.error(reason));
    await store.put('new', Buffer.from('x'), { ifNoneMatch: '*' }).catch(() => {});
    expect(memory.requests.put).toBe(tries);
  });

  test('an abort ends the wait with the reason of the signal', async () => {
    const { memory } = setUp();
    const controller = new AbortController();
    const reason = new Error('enough');
    const store = createRetryingObjectStore(memory, {
      clock: systemClock,
      random: () => 1,
      onRetry: () => setImmediate(() => controller.abort(reason)),
    });
    memory.failNext('head', memory.error('timeout'), 5);
    await expect(store.head('key', { signal: controller.signal })).rejects.toBe(reason);
    expect(memory.requests.head).toBe(1);
  });
});

describe('a write whose answer is lost', () => {
  const BODY = Buffer.from('content of some length');
  const md5 = createHash('md5').update(BODY).digest();
  const stream = { size: BODY.length, open: () => [BODY] };
  const DOUBTFUL = ['timeout', 'unreachable', 'server-error', 'bad-response'] as const;

  /** A store whose next writes are carried out and answered with errors. */
  function losing(errors: readonly (StoreErrorReason | undefined)[]) {
    const memory = new MemoryObjectStore();
    const left = [...errors];
    const lossy = decorate(memory, async ({ operation }, run) => {
      const result = await run();
      const reason = operation === 'put' || operation === 'completeUpload' ? left.shift() : undefined;
      if (reason) throw memory.error(reason);
      return result;
    });
    return { memory, store: createRetryingObjectStore(lossy, { clock: new InstantClock() }) };
  }

  test.each(DOUBTFUL)('put, %s: a look finds it, and it is not sent again', async (reason) => {
    for (const body of [BODY, stream]) {
      const { memory, store } = losing([reason]);
      await store.put('new', body, { md5, metadata: { a: 'b' } });
      expect([memory.requests.put, memory.requests.head]).toEqual([1, 1]);
    }
  });

  test('put: a look that fails is repeated, and the content is not sent meanwhile', async () => {
    const { memory, store } = losing(['timeout']);
    memory.failNext('head', memory.error('unreachable'), 3);
    await store.put('new', stream, { md5 });
    expect([memory.requests.put, memory.requests.head]).toEqual([1, 4]);
  });

  test.each<[string, (memory: MemoryObjectStore) => void]>([
    ['nothing is there', () => {}],
    ['another content of this size', (memory) => memory.seed('new', Buffer.alloc(BODY.length))],
    ['this content with other metadata', (memory) => memory.seed('new', BODY, { a: 'c' })],
    [
      'nobody may look',
      (memory) => {
        memory.seed('new', BODY, { a: 'b' });
        memory.failNext('head', memory.error('access-denied'));
      },
    ],
  ])('put: it is sent again where %s', async (_name, prepare) => {
    const { memory, store } = setUp();
    prepare(memory);
    memory.failNext('put', memory.error('timeout'));
    await store.put('new', stream, { md5, metadata: { a: 'b' } });
    expect(memory.requests.put).toBe(2);
    expect((await memory.get('new', 100)).metadata).toEqual({ a: 'b' });
    expect(memory.peek('new')).toEqual(BODY);
  });

  test('put: a stream whose MD5 nobody knows is sent again', async () => {
    const { memory, store } = losing(['timeout']);
    await store.put('new', stream);
    expect(memory.requests.put).toBe(2);
  });

  test.each(['throttled', 'bad-digest'] as const)('put, %s: nobody looks', async (reason) => {
    const { memory, store } = setUp();
    memory.failNext('put', memory.error(reason));
    await store.put('new', BODY);
    expect([memory.requests.put, memory.requests.head]).toEqual([2, 0]);
  });

  test.each(DOUBTFUL)('the end of an upload in parts, %s: a look finds the object', async (reason) => {
    const { memory, store } = losing([reason]);
    memory.seed('new', BODY);
    const id = await store.createUpload('new');
    const etag = await store.putPart({ key: 'new', id, number: 1 }, BODY, { md5 });
    await store.completeUpload({ key: 'new', id }, [{ number: 1, etag }]);
    expect([memory.requests.completeUpload, memory.requests.head]).toEqual([1, 1]);
  });

  test('the end of an upload in parts: another object is none, however long it is', async () => {
    const { memory, store } = setUp();
    memory.seed('new', BODY);
    const id = await store.createUpload('new');
    const etag = await store.putPart({ key: 'new', id, number: 1 }, BODY, { md5 });
    memory.failNext('completeUpload', memory.error('timeout'));
    await store.completeUpload({ key: 'new', id }, [{ number: 1, etag }]);
    expect(memory.requests.completeUpload).toBe(2);
  });
});

describe('retryDelayMs', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  test('stays in its bounds and grows with the tries', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), random, (tries, share) => {
        const delay = retryDelayMs(tries, share);
        expect(delay).toBeGreaterThanOrEqual(RETRY_DELAY_MIN_MS);
        expect(delay).toBeLessThanOrEqual(RETRY_DELAY_MAX_MS);
        expect(retryDelayMs(tries + 1, share)).toBeGreaterThanOrEqual(delay);
      }),
    );
  });

  test('the ceiling doubles', () => {
    expect([1, 2, 3, 6, 7, 8].map((tries) => retryDelayMs(tries, 1))).toEqual([
      100, 200, 400, 3200, 5000, 5000,
    ]);
  });
});
