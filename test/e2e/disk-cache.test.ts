import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { MiB } from '../../src/limits.ts';
import { datasetOf, randomBytesOf, uuidOf } from '../support/datasets.ts';
import { scaled } from '../support/full.ts';
import { type Mounted, User, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

const ITEMS: Readonly<Record<string, Buffer>> = Object.fromEntries([
  ...Array.from({ length: 24 }, (_, index) => [
    `large/${index}`,
    randomBytesOf(index, 4 * MiB + 1000 * index),
  ]),
  ...Array.from({ length: 40 }, (_, index) => [
    `small/${index}`,
    randomBytesOf(100 + index, 1 + 700 * index),
  ]),
]);
const md5Of = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

let bucket: TestBucket;
let directory: string;
const mounts: Mounted[] = [];
const KILLS = scaled({ usual: 2, full: 30 });
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'disk-cache-'));
  bucket = await createEmbeddedBucket();
  await bucket.putDataset(datasetOf('cached', ITEMS));
});
afterEach(async () => {
  await Promise.all(mounts.splice(0).map(async (mounted) => mounted.close()));
  await bucket.close();
  await rm(directory, { recursive: true });
});

async function mountOn(...options: readonly string[]): Promise<Mounted> {
  const mounted = await mount(bucket.env, [bucket.bucket], '--cache-dir', directory, ...options);
  mounts.push(mounted);
  return mounted;
}

/** Reads items and fails on one that is not what it should be. */
async function readItems(mounted: Mounted, relpaths: readonly string[]): Promise<void> {
  const output = await mounted.sh(`cd cached/data && md5sum ${relpaths.join(' ')}`);
  const expected = relpaths
    .map((relpath) => `${md5Of(ITEMS[relpath] ?? Buffer.of())}  ${relpath}\n`)
    .join('');
  expect(output).toBe(expected);
}

async function takenBytes(): Promise<number> {
  const entries = await readdir(join(directory, 'blocks-1'), { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) =>
        // What is looked at may be evicted meanwhile.
        stat(join(entry.parentPath, entry.name)).then(
          ({ blocks }) => blocks * 512,
          () => 0,
        ),
      ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** When all that was read is on disk. */
async function settled(mounted: Mounted): Promise<void> {
  await expect
    .poll(async () => (await mounted.status()).cache.disk?.queuedBytes, { timeout: 20_000 })
    .toBe(0);
}

const ALL = Object.keys(ITEMS);

describe.skipIf(mountObstacle !== undefined)('a cache on disk', () => {
  test('outlives a mount that was killed: the next one fetches nothing again, even while the store is away', async () => {
    const first = await mountOn();
    await readItems(first, ALL);
    await settled(first);
    const { cache } = await first.status();
    expect(cache.disk).toMatchObject({ corruptBlocks: 0, droppedBlocks: 0 });
    process.kill(first.pid, 'SIGKILL');
    const second = await mountOn('--cache-memory', '8M');
    await second.sh('ls -R cached/data');
    await bucket.server?.close();
    await readItems(second, ALL);
    const after = (await second.status()).cache;
    expect(after).toMatchObject({ fetchedBytes: 0, disk: { misses: 0, corruptBlocks: 0 } });
    expect(after.disk?.hits).toBeGreaterThan(0);
  });

  test('is shared by mounts at once, under kills: no wrong byte, and the bound is kept', async () => {
    // Smaller than what is read, so that it is full all the time.
    const options = ['--cache-size', '64M', '--cache-memory', '8M'];
    const steady = await mountOn(...options);
    const done = new AbortController();
    let most = 0;
    const watch = (async () => {
      while (!done.signal.aborted) {
        most = Math.max(most, await takenBytes());
        // Looking all the time would have half of the processor that the mounts are to be pressed on.
        await systemClock.sleep(20);
      }
    })();
    const shuffled = (seed: number): readonly string[] =>
      ALL.toSorted((a, b) => (md5Of(Buffer.from(a + seed)) < md5Of(Buffer.from(b + seed)) ? -1 : 1));
    for (let round = 0; round < KILLS; round += 1) {
      const victim = await mountOn(...options);
      const doomed = readItems(victim, shuffled(round)).then(
        () => 'read',
        (error: unknown) => (error instanceof Error && error.name === 'AssertionError' ? 'wrong' : 'killed'),
      );
      const reading = readItems(steady, shuffled(10 + round));
      await expect.poll(async () => (await victim.status()).cache.fetchedBytes).toBeGreaterThan(8 * MiB);
      process.kill(victim.pid, 'SIGKILL');
      expect(await doomed).not.toBe('wrong');
      await reading;
    }
    const last = await mountOn(...options);
    await readItems(last, ALL);
    done.abort();
    await watch;
    expect(most).toBeLessThanOrEqual(64 * MiB);
    expect(most).toBeGreaterThan(32 * MiB);
  });

  test('none: nothing is kept', async () => {
    const mounted = await mountOn('--cache-size', 'none');
    await readItems(mounted, ALL.slice(0, 3));
    expect((await mounted.status()).cache.disk).toBeUndefined();
    expect(await readdir(directory)).not.toContain('blocks-1');
  });

  test('an item that has another MD5: reported once all of it was read, and EIO for who opens it then', async () => {
    const key = `${uuidOf('cached')}/data/${identifierOf('large/3')}`;
    const altered = Buffer.from(ITEMS['large/3'] ?? Buffer.of());
    altered.writeUInt8(altered.readUInt8(3 * MiB) ^ 1, 3 * MiB);
    await bucket.put(key, altered);
    const mounted = await mountOn();
    await mounted.sh('cat cached/data/large/3 > /dev/null');
    await expect.poll(async () => (await mounted.status()).problems, { timeout: 20_000 }).toHaveLength(1);
    expect((await mounted.status()).problems[0]).toMatchObject({
      bucket: bucket.bucket,
      key,
      reason: expect.stringContaining(
        `has MD5 ${md5Of(altered)} and should have ${md5Of(ITEMS['large/3'] ?? Buffer.of())}`,
      ),
    });
    const again = await mounted.user.exec('cat', join(mounted.path, 'cached/data/large/3'));
    expect(again.stderr).toContain('Input/output error');
  });
});

describe('warm and verify', () => {
  let user: User;
  beforeEach(async () => {
    user = await User.create(bucket.env);
  });
  afterEach(async () => user.remove());
  const run = async (...args: readonly string[]) => user.run(...args, '--cache-dir', directory);
  const total = Object.values(ITEMS).reduce((sum, { length }) => sum + length, 0);

  test('warm fills the cache, tells what is in it and frees it; reading then needs no store', async () => {
    const dataset = `${bucket.bucket}/cached`;
    const before = await run('warm', '--check', '--json', dataset);
    expect(JSON.parse(before.stdout)).toMatchObject([{ items: ALL.length, bytes: total, cachedBytes: 0 }]);
    const warmed = await run('warm', dataset);
    expect(warmed).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('(100 %), 64 items') });
    expect(warmed.stderr).toContain('Fetching: 100%');
    const requests = bucket.server?.requestCounts().GetObject ?? 0;
    expect(await run('warm', '--json', dataset)).toMatchObject({ exitCode: 0 });
    expect((bucket.server?.requestCounts().GetObject ?? 0) - requests).toBeLessThan(5);
    if (mountObstacle === undefined) {
      const mounted = await mountOn();
      await readItems(mounted, ALL);
      expect((await mounted.status()).cache.fetchedBytes).toBe(0);
    }
    const evicted = await run('warm', '--evict', '--json', dataset);
    expect(JSON.parse(evicted.stdout)).toMatchObject([{ cachedBytes: 0 }]);
  });

  test('warm takes what fits and is there', async () => {
    const refused = await run('warm', `${bucket.bucket}/cached`, '--cache-size', '64M');
    expect(refused).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/don't fit into a cache of 64\.0 MiB/),
    });
    expect(await run('warm', `${bucket.bucket}/nothing`)).toMatchObject({ exitCode: 1 });
    expect(await run('warm', `${bucket.bucket}/cached`, '--check', '--evict')).toMatchObject({ exitCode: 2 });
    expect(await run('warm')).toMatchObject({ exitCode: 2 });
  });

  test('verify finds what is altered, missing or of another size, and nothing else', async () => {
    const dataset = `${bucket.bucket}/cached`;
    const good = await run('verify', dataset, '--cache-size', 'none');
    expect(good).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('all as the manifest says') });
    await bucket.put('dtool-junk', '');
    const whole = await run('verify', bucket.bucket, '--cache-size', 'none');
    expect(whole).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('dtool-junk: ') });
    await bucket.delete('dtool-junk');
    const keyOf = (relpath: string): string => `${uuidOf('cached')}/data/${identifierOf(relpath)}`;
    const altered = Buffer.from(ITEMS['large/5'] ?? Buffer.of());
    altered.writeUInt8(altered.readUInt8(9) ^ 1, 9);
    await bucket.put(keyOf('large/5'), altered);
    await bucket.put(keyOf('small/7'), 'short');
    await bucket.delete(keyOf('small/9'));
    const found = await run('verify', '--json', dataset);
    expect(found.exitCode).toBe(1);
    const { mismatches } = JSON.parse(found.stdout) as { mismatches: { relpath: string; reason: string }[] };
    expect(mismatches.map(({ relpath }) => relpath).toSorted()).toEqual(['large/5', 'small/7', 'small/9']);
    expect(await run('warm', dataset)).toMatchObject({ exitCode: 1 });
  });

  test('verify reads the bucket, whatever is cached; --cached reads the cache alone', async () => {
    const dataset = `${bucket.bucket}/cached`;
    expect(await run('verify', '--cached', '--json', dataset)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/"notCached": 64,/),
    });
    expect(await run('warm', dataset)).toMatchObject({ exitCode: 0 });
    const keyOf = (relpath: string): string => `${uuidOf('cached')}/data/${identifierOf(relpath)}`;
    await bucket.put(keyOf('large/5'), Buffer.alloc(ITEMS['large/5']?.length ?? 0));
    await bucket.put(keyOf('small/7'), Buffer.alloc(ITEMS['small/7']?.length ?? 0));
    await bucket.delete(keyOf('small/9'));
    const found = await run('verify', '--json', dataset);
    expect(found.exitCode).toBe(1);
    const { mismatches } = JSON.parse(found.stdout) as { mismatches: { relpath: string }[] };
    expect(mismatches.toSorted((a, b) => (a.relpath < b.relpath ? -1 : 1))).toMatchObject([
      { relpath: 'large/5', reason: expect.stringContaining('and should have'), cacheHasIt: true },
      { relpath: 'small/7', reason: expect.stringContaining('and should have'), cacheHasIt: true },
      { relpath: 'small/9', reason: expect.stringContaining('is missing'), cacheHasIt: true },
    ]);
    const requests = bucket.server?.requestCounts().GetObject ?? 0;
    const cached = await run('verify', '--cached', dataset);
    expect(cached).toMatchObject({
      exitCode: 0,
      stdout: '64 of 64 items are in the cache, all as the manifest says; the bucket was not read.\n',
    });
    // The list and the manifest come from the bucket, the items do not.
    expect((bucket.server?.requestCounts().GetObject ?? 0) - requests).toBeLessThan(5);
    expect(await run('verify', '--cached', dataset, '--cache-size', 'none')).toMatchObject({ exitCode: 1 });
  });

  test('verify needs no cache that works', async () => {
    const options = ['--cache-dir', '/dev/null/cache'];
    expect(await user.run('verify', `${bucket.bucket}/cached`, ...options)).toMatchObject({ exitCode: 0 });
    expect(await user.run('verify', '--cached', `${bucket.bucket}/cached`, ...options)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("can't be used"),
    });
  });
});
