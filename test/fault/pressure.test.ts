import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, rmdir, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BLOCK_BYTES, KiB, MiB } from '../../src/limits.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { scaled } from '../support/full.ts';
import { hasProgram, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const hasPython = await hasProgram('python3');
const md5Of = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

const FILES = 50;
const ITEMS: Readonly<Record<string, Buffer>> = Object.fromEntries(
  Array.from({ length: FILES }, (_, index) => [`${index}.bin`, randomBytesOf(index, 600 * KiB + index)]),
);
const TOTAL = Object.values(ITEMS).reduce((sum, { length }) => sum + length, 0);
const MD5S = Object.entries(ITEMS).map(([name, bytes]) => `${md5Of(bytes)}  ${name}`);

let bucket: TestBucket;
beforeAll(async () => {
  bucket = await createEmbeddedBucket();
  await bucket.putDataset(datasetOf('pressed', ITEMS));
});
afterAll(async () => bucket.close());

const mounts: Mounted[] = [];
const directories: string[] = [];
beforeEach(() => bucket.server?.resetRequestCounts());
afterEach(async () => {
  for (const mounted of mounts.splice(0)) await mounted.close();
  for (const directory of directories.splice(0)) {
    await run('umount', [directory]).catch(() => {
      // It was an ordinary directory.
    });
    await rm(directory, { recursive: true });
  }
});

async function mountIt(...options: readonly string[]): Promise<Mounted> {
  const mounted = await mount(bucket.env, [bucket.bucket], ...options);
  mounts.push(mounted);
  return mounted;
}

/** A file system of its own with room for so much. */
async function smallDisk(bytes: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'pressure-disk-'));
  directories.push(directory);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'pressure', directory]);
  return directory;
}

/** Descriptors of a process, connections left out: these are kept for their next use. */
async function descriptorsOf(pid: number): Promise<number> {
  const directory = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(directory)).map(async (fd) => readlink(join(directory, fd)).catch(() => 'socket:')),
  );
  return links.filter((link) => !link.startsWith('socket:')).length;
}

describe.skipIf(mountObstacle !== undefined || !isRoot)('a full disk', () => {
  test('under the cache: everything is read as before, and nothing but the cache is missing', async () => {
    const disk = await smallDisk(70 * MiB);
    await writeFile(join(disk, 'ballast'), randomBytesOf(9, 60 * MiB));
    const mounted = await mountIt('--cache-dir', disk, '--cache-memory', '8M');
    for (let round = 0; round < 2; round += 1) {
      expect((await mounted.sh('cd pressed/data && md5sum *')).trim().split('\n').toSorted()).toEqual(
        MD5S.toSorted(),
      );
    }
    const { problems, cache } = await mounted.status();
    expect(problems).toEqual([]);
    expect(cache.disk?.corruptBlocks).toBe(0);
    const { bavail, bsize } = await statfs(disk);
    expect(bavail * bsize).toBeGreaterThanOrEqual(0);
    await rm(join(disk, 'ballast'));
    expect(await mounted.sh('cat pressed/data/3.bin | md5sum')).toContain(
      md5Of(ITEMS['3.bin'] ?? Buffer.of()),
    );
  });

  test('under the staging area: ENOSPC for who writes, what was written stays, and it goes on when there is room', async () => {
    const disk = await smallDisk(16 * MiB);
    const mounted = await mountIt('--staging-dir', disk);
    const { user, path } = mounted;
    const small = randomBytesOf(7, 3 * MiB);
    await mounted.sh('mkdir staging/full');
    await writeFile(join(user.home, 'small'), small);
    await mounted.sh(`cp '${user.home}/small' staging/full/kept && sync staging/full/kept`);
    const filled = await user.exec('dd', 'if=/dev/zero', `of=${path}/staging/full/big`, 'bs=1M', 'count=32');
    expect(filled.stderr).toContain('No space left on device');
    expect(await user.exec('cmp', `${user.home}/small`, `${path}/staging/full/kept`)).toMatchObject({
      exitCode: 0,
    });
    // A freeze needs no room there. It takes no file of which something is missing, whatever its size is by now.
    await mounted.sh('truncate -s 1M staging/full/big');
    expect(
      (await user.exec('dd', 'if=/dev/zero', `of=${path}/staging/full/again`, 'bs=1M', 'count=4')).exitCode,
    ).toBe(0);
    const refused = await user.run('freeze', join(path, 'staging/full'));
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('big was not written') });
    await mounted.sh('rm staging/full/big');
    const frozen = await user.run('freeze', join(path, 'staging/full'));
    expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
    expect(await mounted.sh('md5sum < full/data/kept')).toBe(`${md5Of(small)}  -\n`);
    expect(await mounted.sh('ls staging')).toBe('');
  });

  test('under the journals: a freeze fails with the reason, and ends in the dataset when there is room', async () => {
    const disk = await smallDisk(1 * MiB);
    const mounted = await mount({ ...bucket.env, XDG_STATE_HOME: disk }, [bucket.bucket]);
    mounts.push(mounted);
    const { user, path } = mounted;
    await mounted.sh('mkdir staging/journal && echo content > staging/journal/file');
    await user.exec('dd', 'if=/dev/zero', `of=${disk}/ballast`, 'bs=4k');
    const refused = await user.run('freeze', join(path, 'staging/journal'));
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/ENOSPC|no space/) });
    expect(await mounted.sh('cat staging/journal/file; ls -d journal || true')).toBe('content\n');
    await rm(join(disk, 'ballast'));
    expect(await user.run('freeze', join(path, 'staging/journal'))).toMatchObject({ exitCode: 0 });
    expect(await mounted.sh('cat journal/data/file; ls staging')).toBe('content\n');
  });
});

const OPENER = `
import os, random, sys
root, count, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
frozen = [os.open(f'{root}/pressed/data/{names[i % len(names)]}', os.O_RDONLY) for i in range(count)]
staged = [os.open(f'{root}/staging/many/{i}', os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644) for i in range(count)]
for i, f in enumerate(staged): os.pwrite(f, b'%d' % i, 0)
for i, f in enumerate(staged): assert os.pread(f, 10, 0) == b'%d' % i
for i, f in enumerate(frozen): assert len(os.pread(f, 4096, (i * 4096) % 500000)) == 4096
print('open', flush=True)
sys.stdin.readline()
for f in frozen + staged: os.close(f)
`;

describe.skipIf(mountObstacle !== undefined)('many at once', () => {
  test.skipIf(!hasPython)(
    '2,000 open files, frozen and staged: all work, and none of them is left open',
    async () => {
      const mounted = await mountIt();
      await mounted.sh('mkdir staging/many && cat pressed/data/0.bin > /dev/null && echo x > staging/many/0');
      await expect.poll(async () => (await mounted.status()).openHandles).toBe(0);
      const before = await descriptorsOf(mounted.pid);
      const opener = mounted.user.startProgram(
        'python3',
        '-c',
        OPENER,
        mounted.path,
        '1000',
        ...Object.keys(ITEMS),
      );
      let said = '';
      opener.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      opener.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      await expect.poll(() => said, { timeout: 50_000 }).toBe('open\n');
      expect((await mounted.status()).openHandles).toBe(2_000);
      opener.stdin.end('\n');
      await expect.poll(async () => (await mounted.status()).openHandles, { timeout: 20_000 }).toBe(0);
      await expect
        .poll(async () => descriptorsOf(mounted.pid), { timeout: 20_000 })
        .toBeLessThanOrEqual(before + 8);
      expect(await mounted.sh('ls staging/many | wc -l')).toBe('1000\n');
    },
  );

  test('200 readers of 50 files: each sees the right bytes, and the store is asked once for each', async () => {
    const mounted = await mountIt('--cache-size', 'none');
    await mounted.sh('ls pressed/data > /dev/null');
    bucket.server?.resetRequestCounts();
    const output = await mounted.sh(
      `cd pressed/data && for i in $(seq 4); do for f in *; do md5sum $f & done; done; wait`,
    );
    const lines = output.trim().split('\n');
    expect(lines).toHaveLength(4 * FILES);
    expect(new Set(lines)).toEqual(new Set(MD5S));
    expect((await mounted.status()).cache.fetchedBytes).toBeLessThanOrEqual(TOTAL + FILES * BLOCK_BYTES);
  });
});

/** The memory controller of cgroup v1 or v2 where this process may make groups. */
const CGROUPS = [
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
  { root: '/sys/fs/cgroup', limit: 'memory.max' },
].find(
  ({ root, limit }) => existsSync(join(root, limit)) || existsSync(join(root, 'cgroup.subtree_control')),
);

describe.skipIf(mountObstacle !== undefined || !isRoot)('512 MiB of memory', () => {
  test('are enough for the settings of a fresh mount, whatever is read, written and frozen', {
    timeout: scaled({ usual: 60_000, full: 900_000 }),
  }, async () => {
    const items = Object.fromEntries(
      Array.from({ length: scaled({ usual: 3, full: 30 }) }, (_, index) => [
        `${index}`,
        randomBytesOf(100 + index, 64 * MiB),
      ]),
    );
    await bucket.putDataset(datasetOf('heavy', items));
    const mounted = await mountIt('--cache-size', 'none');
    const group = await limitedTo(512 * MiB, mounted.pid);
    const reading = mounted.sh('cd heavy/data && for f in *; do md5sum $f & done; wait');
    await mounted.sh(
      'mkdir staging/heavy && cp pressed/data/* staging/heavy/ && mv staging/heavy frozen-heavy',
    );
    const sums = (await reading).trim().split('\n').toSorted();
    expect(sums).toEqual(
      Object.entries(items)
        .map(([name, bytes]) => `${md5Of(bytes)}  ${name}`)
        .toSorted(),
    );
    const { pid } = await mounted.status();
    expect(pid).toBe(mounted.pid);
    const [, peakKiB = ''] = /VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
    process.stderr.write(
      `peak of resident memory: ${Math.round(Number(peakKiB) / KiB)} MiB; limited: ${group !== undefined}\n`,
    );
    expect(Number(peakKiB) * KiB).toBeLessThan(512 * MiB);
    await mounts.pop()?.close();
    // The group is empty some time after its process has ended.
    if (group) await expect.poll(async () => rmdir(group), { timeout: 20_000 }).toBeUndefined();
  });
});

/** @returns the group that the process is in now, or undefined where none can be made */
async function limitedTo(bytes: number, pid: number): Promise<string | undefined> {
  if (!CGROUPS) return undefined;
  const group = join(CGROUPS.root, `dtool-ecs-mount-test-${pid}`);
  try {
    await mkdir(group);
    await writeFile(join(group, CGROUPS.limit), String(bytes));
    await writeFile(join(group, 'cgroup.procs'), String(pid));
    return group;
  } catch {
    await rmdir(group).catch(() => {});
    return undefined;
  }
}
