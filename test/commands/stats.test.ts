import { expect, test } from 'vitest';
import { type Look, isSameMount, ratesBetween } from '../../src/commands/stats/rates.ts';
import { describeRates, summarizeRates } from '../../src/commands/stats/view.ts';
import { StoreCounters } from '../../src/ecs/store-counters.ts';
import { RequestCounters } from '../../src/fuse/request-counters.ts';
import { LATENCY_BOUNDS_MS } from '../../src/latency-histogram.ts';
import { MiB } from '../../src/limits.ts';
import type { MountStatus } from '../../src/mount.ts';

/** A mount that does what the test says, and is looked at. */
class WatchedMount {
  readonly kernel = new RequestCounters();
  readonly store = new StoreCounters();
  cache: MountStatus['cache'] = {
    hits: 0,
    misses: 0,
    hitBytes: 0,
    blocks: 0,
    bytes: 0,
    maxBytes: 64 * MiB,
    fetchedBlocks: 0,
    fetchedBytes: 0,
    readAhead: { fetchedBytes: 0, usedBytes: 0, wastedBytes: 0 },
  };
  mountpoint = '/mnt/ecs';
  pid = 1;

  look(atMs: number): Look {
    const status: MountStatus = {
      mountpoint: this.mountpoint,
      buckets: [],
      bucketDirectories: false,
      pid: this.pid,
      version: '1',
      transport: 'kernel',
      startedAt: '2026-01-01T00:00:00.000Z',
      openHandles: 3,
      cache: this.cache,
      store: this.store.snapshot(),
      queue: { running: 2, waiting: { read: 1, metadata: 0, background: 4 } },
      kernel: this.kernel.snapshot(),
      latencyBoundsMs: LATENCY_BOUNDS_MS,
      problems: [],
      staging: [],
      unfinished: [],
    };
    return { status, time: new Date('2026-01-02T03:04:05.678Z'), atMs };
  }
}

const GET = { bucket: 'lab', operation: 'get' } as const;

test('rates are what happened between two looks, and nothing of what was before', () => {
  const mount = new WatchedMount();
  mount.store.failed(GET, 'timeout', 20_000);
  mount.kernel.count('lookup', 20_000);
  mount.kernel.count('mkdir', 1);
  mount.cache = { ...mount.cache, hits: 100, misses: 100, hitBytes: 5000, fetchedBlocks: 9 };
  const first = mount.look(1000);

  for (let request = 0; request < 4; request += 1) mount.store.succeeded(GET, MiB, 1.5);
  mount.store.abandoned(GET);
  mount.store.retried(GET);
  mount.store.failed({ bucket: 'other', operation: 'put' }, 'throttled', 150);
  mount.store.succeeded({ bucket: 'other', operation: 'put' }, 2 * MiB, 150);
  for (let request = 0; request < 10; request += 1) mount.kernel.count('lookup', 0.05);
  mount.cache = {
    ...mount.cache,
    hits: 109,
    misses: 101,
    hitBytes: 5000 + 6 * MiB,
    fetchedBlocks: 11,
    fetchedBytes: MiB,
    readAhead: { fetchedBytes: 4 * MiB, usedBytes: 2 * MiB, wastedBytes: MiB },
  };
  const rates = ratesBetween(first, mount.look(3000));
  expect(rates).toEqual({
    mountpoint: '/mnt/ecs',
    time: '2026-01-02T03:04:05.678Z',
    seconds: 2,
    kernel: { requestsPerSecond: 5, p50Ms: expect.closeTo(0.05), p99Ms: expect.closeTo(0.1) },
    kernelRequests: {
      lookup: { requestsPerSecond: 5, p50Ms: expect.closeTo(0.05), p99Ms: expect.closeTo(0.1) },
    },
    store: {
      requestsPerSecond: 3.5,
      p50Ms: 1.75,
      p99Ms: 200,
      errorsPerSecond: 0.5,
      retriesPerSecond: 0.5,
      bytesReadPerSecond: 2 * MiB,
      bytesWrittenPerSecond: MiB,
    },
    storeRequests: [
      {
        ...GET,
        requestsPerSecond: 2.5,
        p50Ms: 1.5,
        p99Ms: 2,
        errorsPerSecond: 0,
        retriesPerSecond: 0.5,
        bytesReadPerSecond: 2 * MiB,
        bytesWrittenPerSecond: 0,
      },
      {
        bucket: 'other',
        operation: 'put',
        requestsPerSecond: 1,
        p50Ms: 150,
        p99Ms: 200,
        errorsPerSecond: 0.5,
        retriesPerSecond: 0,
        bytesReadPerSecond: 0,
        bytesWrittenPerSecond: MiB,
      },
    ],
    memory: { blocksPerSecond: 4.5, bytesPerSecond: 3 * MiB, hitRatio: 0.9 },
    fetched: { blocksPerSecond: 1, bytesPerSecond: MiB / 2 },
    readAhead: { fetchedBytesPerSecond: 2 * MiB, usedBytesPerSecond: MiB, wastedBytesPerSecond: MiB / 2 },
    queue: { running: 2, waiting: { read: 1, metadata: 0, background: 4 } },
    openHandles: 3,
  });
});

test('of an idle mount there are no times and no ratios', () => {
  const mount = new WatchedMount();
  const rates = ratesBetween(mount.look(0), mount.look(1000));
  expect(rates.kernel).toEqual({ requestsPerSecond: 0 });
  expect(rates.memory).toEqual({ blocksPerSecond: 0, bytesPerSecond: 0 });
  expect(summarizeRates(rates)).toBe(
    '03:04:05  kernel 0/s p50 - p99 -  store 0/s p50 - p99 - read 0 B/s written 0 B/s failed 0/s' +
      '  hits memory -  queue 2+5',
  );
});

test('a mount that was started anew is another one', () => {
  const mount = new WatchedMount();
  const first = mount.look(0);
  expect(isSameMount(first, mount.look(1))).toBe(true);
  mount.pid = 2;
  expect(isSameMount(first, mount.look(1))).toBe(false);
});

test('the view has a row for each bucket and kind, the busiest first, and nothing that a terminal obeys', () => {
  const mount = new WatchedMount();
  mount.mountpoint = '/mnt/\u001b[31mred';
  const first = mount.look(0);
  mount.store.succeeded(GET, MiB, 1.5);
  for (let request = 0; request < 4; request += 1)
    mount.store.succeeded({ bucket: 'evil\u001b]0;title\u0007', operation: 'getRange' }, 100, 3);
  mount.kernel.count('read', 3);
  const lines = describeRates(ratesBetween(first, mount.look(2000)));
  expect(lines.join('')).not.toMatch(/\p{Control}/u);
  expect(lines[0]).toContain('/mnt/\\u{1b}[31mred');
  const start = lines.findIndex((line) => line.startsWith('STORE'));
  expect(lines.slice(start + 1, start + 4).map((line) => line.split(/ {2,}/))).toEqual([
    ['all', '2.5', '3.5 ms', '5 ms', '512.2 KiB', '0 B', '0', '0'],
    ['evil\\u{1b}]0;title\\u{7} getRange', '2', '3.5 ms', '5 ms', '200 B', '0 B', '0', '0'],
    ['lab get', '0.5', '2 ms', '2 ms', '512.0 KiB', '0 B', '0', '0'],
  ]);
  expect(lines).toContain('2 under way, waiting: 1 read, 0 metadata, 4 background');
});
