import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { STORE_REQUESTS_MAX, STORE_REQUESTS_RESERVED } from '../../src/limits.ts';
import { createLimitingObjectStore, RequestLimiter } from '../../src/ecs/limiting-object-store.ts';
import type { Priority } from '../../src/ecs/object-store.ts';
import { createRetryingObjectStore } from '../../src/ecs/retrying-object-store.ts';
import { describeObjectStore } from '../contract/object-store.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

describeObjectStore('the limiting store', async () => ({
  store: createLimitingObjectStore(new MemoryObjectStore(), new RequestLimiter()),
  dispose: async () => {},
}));
describeObjectStore('the limiting store with one slot', async () => ({
  store: createLimitingObjectStore(new MemoryObjectStore(), new RequestLimiter({ max: 1, reserved: 0 })),
  dispose: async () => {},
}));

/** A limiter and a way to occupy its slots: tasks run until they are told to end. */
function occupy(limiter: RequestLimiter) {
  const order: string[] = [];
  const ends = new Map<string, () => void>();
  const start = (name: string, priority: Priority, signal?: AbortSignal): Promise<void> =>
    limiter.run(priority, signal, () => {
      order.push(name);
      return new Promise((resolve) => ends.set(name, resolve));
    });
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await turn();
  };
  return { order, start, end };
}

/** Lets all promise reactions run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the limiter', () => {
  test('higher classes overtake, equals keep their order', async () => {
    const limiter = new RequestLimiter({ max: 1, reserved: 0 });
    const { order, start, end } = occupy(limiter);
    const all = [
      start('first', 'background'),
      start('b1', 'background'),
      start('m1', 'metadata'),
      start('r1', 'read'),
      start('b2', 'background'),
      start('m2', 'metadata'),
      start('r2', 'read'),
    ];
    await turn();
    expect(limiter.depth).toEqual({ running: 1, waiting: { read: 2, metadata: 2, background: 2 } });
    for (const name of ['first', 'r1', 'r2', 'm1', 'm2', 'b1', 'b2']) await end(name);
    await Promise.all(all);
    expect(order).toEqual(['first', 'r1', 'r2', 'm1', 'm2', 'b1', 'b2']);
    expect(limiter.depth).toEqual({ running: 0, waiting: { read: 0, metadata: 0, background: 0 } });
  });

  test('the reserved slots are never taken by background requests', async () => {
    const limiter = new RequestLimiter();
    const { order, start, end } = occupy(limiter);
    const most = STORE_REQUESTS_MAX - STORE_REQUESTS_RESERVED;
    const all = Array.from({ length: STORE_REQUESTS_MAX }, (_, index) => start(`b${index}`, 'background'));
    await turn();
    expect(order.length).toBe(most);
    for (let index = 0; index < STORE_REQUESTS_RESERVED; index++) all.push(start(`r${index}`, 'read'));
    await turn();
    expect(order.length).toBe(STORE_REQUESTS_MAX);
    await end('r0');
    expect(limiter.depth.running).toBe(STORE_REQUESTS_MAX - 1);
    await end('b0');
    expect(order.at(-1)).toBe(`b${most}`);
    for (const name of order) await end(name);
    await Promise.all(all);
  });

  test('an aborted request leaves the queue at once, unrun', async () => {
    const limiter = new RequestLimiter({ max: 1, reserved: 0 });
    const { order, start, end } = occupy(limiter);
    const first = start('first', 'read');
    const controller = new AbortController();
    const reason = new Error('enough');
    const waiting = start('second', 'read', controller.signal);
    const third = start('third', 'read');
    expect(limiter.depth.waiting.read).toBe(2);
    controller.abort(reason);
    expect(limiter.depth.waiting.read).toBe(1);
    await expect(waiting).rejects.toBe(reason);
    await expect(start('late', 'read', controller.signal)).rejects.toBe(reason);
    await end('first');
    await end('third');
    await Promise.all([first, third]);
    expect(order).toEqual(['first', 'third']);
  });

  test('an abort while it runs is the task’s, and the slot is kept until it settles', async () => {
    const limiter = new RequestLimiter({ max: 1, reserved: 0 });
    const { start, end } = occupy(limiter);
    const controller = new AbortController();
    const running = start('running', 'read', controller.signal);
    controller.abort();
    await turn();
    expect(limiter.depth.running).toBe(1);
    await end('running');
    await running;
    expect(limiter.depth.running).toBe(0);
  });

  test('a failure frees the slot', async () => {
    const limiter = new RequestLimiter({ max: 1, reserved: 0 });
    const failed = limiter.run('read', undefined, () => Promise.reject(new Error('failed')));
    await expect(failed).rejects.toThrow('failed');
    const thrown = limiter.run('read', undefined, () => {
      throw new Error('thrown');
    });
    await expect(thrown).rejects.toThrow('thrown');
    expect(limiter.depth.running).toBe(0);
  });

  test('any mixture of tasks and aborts: bounds hold, nobody is left behind', async () => {
    const task = fc.record({
      priority: fc.constantFrom<Priority>('read', 'metadata', 'background'),
      turns: fc.nat({ max: 3 }),
      abortAfter: fc.option(fc.nat({ max: 4 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(task, { maxLength: 40 }), async (tasks) => {
        const limiter = new RequestLimiter({ max: 4, reserved: 2 });
        const running = { read: 0, metadata: 0, background: 0 };
        const outcomes = tasks.map(async ({ priority, turns, abortAfter }) => {
          const controller = new AbortController();
          const done = limiter.run(priority, controller.signal, async () => {
            running[priority]++;
            expect(running.read + running.metadata + running.background).toBeLessThanOrEqual(4);
            expect(running.background).toBeLessThanOrEqual(2);
            for (let index = 0; index < turns; index++) await turn();
            running[priority]--;
            return 'done';
          });
          const settled = done.catch((error: unknown) => (controller.signal.aborted ? 'aborted' : error));
          for (let index = 0; index < (abortAfter ?? 0); index++) await turn();
          if (abortAfter !== null) controller.abort();
          return settled;
        });
        const allowed = tasks.map(({ abortAfter }) => (abortAfter === null ? /^done$/ : /^(done|aborted)$/));
        const results = await Promise.all(outcomes);
        expect(results.every((result, index) => allowed[index]?.test(String(result)))).toBe(true);
        expect(limiter.depth).toEqual({ running: 0, waiting: { read: 0, metadata: 0, background: 0 } });
      }),
    );
  });
});

describe('the limiting store', () => {
  test('one limiter over two buckets; the default class is metadata', async () => {
    const limiter = new RequestLimiter({ max: 2, reserved: 1 });
    const memories = ['one', 'two'].map((bucket) => new MemoryObjectStore({ bucket }));
    const gates = memories.map((memory) => memory.hold('listPage'));
    const lists = memories.flatMap((memory) => {
      const store = createLimitingObjectStore(memory, limiter);
      return [store.listPage({ prefix: '' }), store.listPage({ prefix: '' }, { priority: 'background' })];
    });
    await turn();
    expect(limiter.depth).toEqual({ running: 2, waiting: { read: 0, metadata: 1, background: 1 } });
    for (const gate of gates) gate.release();
    await Promise.all(lists);
  });

  test('under the retrying store, a request that waits for its next try holds no slot', async () => {
    const limiter = new RequestLimiter({ max: 1, reserved: 0 });
    const memory = new MemoryObjectStore();
    memory.seed('key', 'x');
    memory.failNext('head', memory.error('throttled'));
    const running: number[] = [];
    const store = createRetryingObjectStore(createLimitingObjectStore(memory, limiter), {
      clock: new InstantClock(),
      onRetry: () => running.push(limiter.depth.running),
    });
    await store.head('key');
    expect(running).toEqual([0]);
  });
});
