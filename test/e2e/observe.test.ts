import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BLOCK_BYTES } from '../../src/limits.ts';
import type { MountStatus } from '../../src/mount.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

/** Reads of less than the least read-ahead begin here and there: what is fetched is what is read. */
const SIZE = 3 * BLOCK_BYTES + 5;

let bucket: TestBucket;
const mounts: Mounted[] = [];
beforeEach(async () => {
  bucket = await createEmbeddedBucket();
  await bucket.putDataset(datasetOf('watched', { 'item.bin': randomBytesOf(1, SIZE) }));
});
afterEach(async () => {
  await Promise.all(mounts.splice(0).map(async (mounted) => mounted.close()));
  await bucket.close();
});

async function mountWith(...options: readonly string[]): Promise<Mounted> {
  const mounted = await mount(bucket.env, [bucket.bucket], ...options);
  mounts.push(mounted);
  return mounted;
}

/** What the server has been asked, in the store's words as far as these can be told apart there. */
function askedOf({ server }: TestBucket) {
  const { GetObject = 0, HeadObject = 0, ListObjectsV2 = 0 } = server?.requestCounts() ?? {};
  return { get: GetObject, head: HeadObject, listPage: ListObjectsV2 };
}

function countedIn({ store }: MountStatus) {
  const { get, getRange, head, listPage } = store.requests;
  return { get: get + getRange, head, listPage };
}

/** The status once it has all that the server was asked: a request is counted when it has ended. */
async function settled(mounted: Mounted): Promise<MountStatus> {
  let status = await mounted.status();
  const look = async () => {
    status = await mounted.status();
    return { counted: countedIn(status), asked: askedOf(bucket) };
  };
  await expect
    .poll(look, { timeout: 10_000 })
    .toSatisfy(({ counted, asked }) => isDeepStrictEqual(counted, asked));
  return status;
}

describe.skipIf(mountObstacle !== undefined)('status', () => {
  test('numbers agree with what the server was asked and what was read', async () => {
    bucket.server?.resetRequestCounts();
    const mounted = await mountWith();
    await mounted.sh('cat watched/data/item.bin | wc -c');
    const first = await settled(mounted);
    for (const { bucket: of, requests, latency, abandoned, errors } of first.store.operations) {
      expect(of).toBe(bucket.bucket);
      expect({ abandoned, errors }).toEqual({ abandoned: 0, errors: {} });
      expect(latency.count).toBe(requests);
      expect(latency.counts).toHaveLength(first.latencyBoundsMs.length + 1);
      expect(latency.sumMs).toBeGreaterThan(0);
    }
    expect(first.cache).toMatchObject({ fetchedBytes: SIZE, fetchedBlocks: 4 });
    expect(first.cache.readAhead.usedBytes).toBe(first.cache.readAhead.fetchedBytes);
    expect(first.kernel['open']?.count).toBe(1);
    expect(first.kernel['lookup']?.count).toBeGreaterThanOrEqual(3);

    // What the kernel has kept is no request; read past it, what is in memory is none to the store.
    await mounted.sh('dd if=watched/data/item.bin bs=64K iflag=direct status=none | wc -c');
    const second = await settled(mounted);
    expect(countedIn(second)).toEqual(countedIn(first));
    expect(second.cache.hitBytes - first.cache.hitBytes).toBe(SIZE);
    expect(second.cache.fetchedBytes).toBe(SIZE);
    expect((second.kernel['read']?.count ?? 0) - (first.kernel['read']?.count ?? 0)).toBeGreaterThanOrEqual(
      Math.ceil(SIZE / (64 * 1024)),
    );
    expect(second.queue).toEqual({ running: 0, waiting: { read: 0, metadata: 0, background: 0 } });

    const { stdout } = await mounted.user.run('status');
    expect(stdout).toMatch(
      /^ {2}requests +\d+, 0 failed, 0 retries, .* read, half within .* ms, 99 % within/m,
    );
    expect(stdout).toMatch(/^ {2}kernel +\d+ requests, half within/m);
    expect(stdout).toMatch(/^ {2}read-ahead +\d.* of which .* were read and 0 B wasted$/m);
  });

  test('fuse-native counts what libfuse asks', async () => {
    const mounted = await mountWith('--transport', 'fuse-native');
    await mounted.sh('head -c 1 watched/README.yml');
    const { kernel } = await mounted.status();
    expect(kernel).toMatchObject({ open: { count: 1 }, read: { count: 1 } });
    expect(kernel['getattr']?.count).toBeGreaterThan(0);
  });
});
