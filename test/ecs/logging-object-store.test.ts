import { Writable } from 'node:stream';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../src/log.ts';
import { createLoggingObjectStore } from '../../src/ecs/logging-object-store.ts';
import { createRetryingObjectStore } from '../../src/ecs/retrying-object-store.ts';
import type { StoreRequest } from '../../src/ecs/decorated-object-store.ts';
import { StoreCounters } from '../../src/ecs/store-counters.ts';
import { describeObjectStore } from '../contract/object-store.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';

describeObjectStore('the logging store', async () => ({
  store: createLoggingObjectStore(new MemoryObjectStore(), {
    logger: silentLogger,
    counters: new StoreCounters(),
    clock: new InstantClock(),
  }),
  dispose: async () => {},
}));

function setUp() {
  const lines: unknown[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      const { level: _level, time: _time, ...line } = JSON.parse(String(chunk));
      lines.push(line);
      done();
    },
  });
  const logger = pino({ level: 'debug', base: null }, sink);
  const counters = new StoreCounters();
  const clock = new InstantClock();
  const memory = new MemoryObjectStore();
  memory.seed('key', 'content');
  return {
    lines,
    counters,
    clock,
    memory,
    store: createLoggingObjectStore(memory, { logger, counters, clock }),
  };
}

describe('the logging store', () => {
  test('a line and a count for every request', async () => {
    const { store, memory, lines, counters, clock } = setUp();
    await store.getRange('key', 1, [new Uint8Array(2), new Uint8Array(3)]);
    await store.get('key', 10);
    await store.head('key');
    await store.listPage({ prefix: 'ke' });
    await store.put('new', Buffer.from('1234'));
    await store.delete('new');
    const id = await store.createUpload('new');
    await store.putPart({ key: 'new', id, number: 1 }, Buffer.from('123'));
    await store.get('missing', 10).catch(() => {});
    memory.failNext('put', new Error('stream broke'));
    await store.put('new', Buffer.from('1234')).catch(() => {});
    const gate = memory.hold('head');
    const slow = store.head('key');
    await gate.reached();
    await clock.sleep(12.3);
    gate.release();
    await slow;

    const common = { bucket: 'bucket', msg: 'store request', ms: 0, outcome: 'ok' };
    expect(lines).toEqual([
      { ...common, operation: 'getRange', key: 'key', range: [1, 5], bytes: 5 },
      { ...common, operation: 'get', key: 'key', bytes: 7 },
      { ...common, operation: 'head', key: 'key', bytes: 0 },
      { ...common, operation: 'listPage', key: 'ke', bytes: 0 },
      { ...common, operation: 'put', key: 'new', bytes: 4 },
      { ...common, operation: 'delete', key: 'new', bytes: 0 },
      { ...common, operation: 'createUpload', key: 'new', bytes: 0 },
      { ...common, operation: 'putPart', key: 'new', bytes: 3 },
      { ...common, operation: 'get', key: 'missing', outcome: 'no-such-key' },
      { ...common, operation: 'put', key: 'new', outcome: 'abandoned' },
      { ...common, operation: 'head', key: 'key', bytes: 0, ms: 12 },
    ]);
    expect(counters.snapshot()).toMatchObject({
      requests: {
        getRange: 1,
        get: 2,
        head: 2,
        listPage: 1,
        put: 2,
        delete: 1,
        createUpload: 1,
        putPart: 1,
        completeUpload: 0,
        abortUpload: 0,
        listUploads: 0,
      },
      bytesRead: 12,
      bytesWritten: 4 + 3,
      errors: { 'no-such-key': 1 },
      abandoned: 1,
      retries: 0,
    });
    const [get, head, put] = (['get', 'head', 'put'] as const).map((operation) =>
      counters.snapshot().operations.find((one) => one.operation === operation),
    );
    expect(get).toMatchObject({
      bucket: 'bucket',
      requests: 2,
      bytesRead: 7,
      errors: { 'no-such-key': 1 },
      latency: { count: 2, sumMs: 0 },
    });
    expect(head).toMatchObject({ requests: 2, latency: { count: 2, sumMs: 12.3 } });
    // How long it took until somebody gave up says nothing of the store.
    expect(put).toMatchObject({ requests: 2, bytesWritten: 4, abandoned: 1, latency: { count: 1 } });
  });

  test('each bucket and kind of request has its own counts, of which the totals are the sums', async () => {
    const counters = new StoreCounters();
    const clock = new InstantClock();
    const [one, other] = ['one', 'other'].map((bucket) => {
      const memory = new MemoryObjectStore({ bucket });
      memory.seed('key', 'content');
      const store = createLoggingObjectStore(memory, { logger: silentLogger, counters, clock });
      const onRetry = (request: StoreRequest): void => counters.retried(request);
      return { memory, store: createRetryingObjectStore(store, { clock, onRetry }) };
    });
    one?.memory.failNext('get', one.memory.error('timeout'), 1);
    await one?.store.get('key', 10);
    await other?.store.get('key', 10);
    await other?.store.put('new', Buffer.from('12345'));
    const { operations, ...totals } = counters.snapshot();
    expect(operations).toMatchObject([
      { bucket: 'one', operation: 'get', requests: 2, retries: 1, errors: { timeout: 1 }, bytesRead: 7 },
      { bucket: 'other', operation: 'get', requests: 1, retries: 0, errors: {}, bytesRead: 7 },
      { bucket: 'other', operation: 'put', requests: 1, bytesRead: 0, bytesWritten: 5 },
    ]);
    expect(totals).toMatchObject({
      requests: { get: 3, put: 1, head: 0 },
      errors: { timeout: 1 },
      retries: 1,
      bytesRead: 14,
      bytesWritten: 5,
      abandoned: 0,
    });
  });

  test('below the retrying store, every try counts', async () => {
    const { store, memory, counters, clock } = setUp();
    memory.failNext('head', memory.error('throttled'), 2);
    await createRetryingObjectStore(store, { clock, onRetry: (request) => counters.retried(request) }).head(
      'key',
    );
    expect(counters.snapshot()).toMatchObject({
      requests: { head: 3 },
      errors: { throttled: 2 },
      retries: 2,
    });
  });

  test('an abort is no error of the store', async () => {
    const { store, lines, counters } = setUp();
    const controller = new AbortController();
    const head = store.head('key', { signal: controller.signal });
    controller.abort();
    await expect(head).rejects.toBe(controller.signal.reason);
    expect(lines).toEqual([expect.objectContaining({ operation: 'head', outcome: 'abandoned' })]);
    expect(counters.snapshot()).toMatchObject({ errors: {}, abandoned: 1 });
  });

  test('a snapshot does not change with what comes after', async () => {
    const { store, counters } = setUp();
    const before = counters.snapshot();
    await store.head('key');
    expect(before.requests.head).toBe(0);
  });
});
