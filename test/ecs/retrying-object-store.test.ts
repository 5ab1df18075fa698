import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import {
  RETRY_DELAY_MAX_MS,
  RETRY_DELAY_MIN_MS,
  SHORT_TRIES_MAX,
  STORE_TRIES_MAX,
} from '../../src/limits.ts';
import type { StoreErrorReason } from '../../src/ecs/object-store.ts';
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
