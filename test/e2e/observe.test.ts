import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MountRates } from '../../src/commands/stats/rates.ts';
import { BLOCK_BYTES } from '../../src/limits.ts';
import type { MountStatus } from '../../src/mount.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { readMetrics } from '../support/metrics-text.ts';
import { CLI, type Mounted, hasProgram, mount, mountObstacle } from '../support/mounted.ts';
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
  await expect.poll(look).toSatisfy(({ counted, asked }) => isDeepStrictEqual(counted, asked));
  return status;
}

describe.skipIf(mountObstacle !== undefined)('the log', () => {
  test('on a full disk ends nothing, and status tells what is lost', async () => {
    const mounted = await mountWith('--log-file', '/dev/full');
    await mounted.sh('cat watched/data/item.bin > /dev/null');
    const { log } = await mounted.status();
    expect(log).toEqual({ lines: expect.any(Number), reason: expect.stringContaining('ENOSPC') });
    expect((await mounted.user.run('status')).stdout).toMatch(/log +\d+ lines lost: ENOSPC/);
  });

  test('on standard error that nobody reads ends nothing', async () => {
    const mounted = await mountWith();
    await mounted.user.unmount(mounted.path);
    const args = ['mount', bucket.bucket, mounted.path, '--foreground', '--log-level', 'debug'];
    const process = mounted.user.start(...args);
    process.stderr?.destroy();
    await once(process.stdout ?? process, 'data');
    process.stdout?.destroy();
    await mounted.sh('cat watched/data/item.bin > /dev/null');
    expect((await mounted.status()).log?.reason).toContain('EPIPE');
    process.kill('SIGINT');
    expect(await once(process, 'exit')).toEqual([0, null]);
  });

  test('is opened anew by SIGHUP', async () => {
    const mounted = await mountWith();
    const file = join(mounted.user.home, 'mount.log');
    await rename(file, `${file}.1`);
    process.kill(mounted.pid, 'SIGHUP');
    await expect.poll(async () => readFile(file, 'utf8').catch(() => '')).toContain('"msg"');
    expect((await mounted.status()).log).toBeUndefined();
  });
});

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
      /^ {2}requests +\d+, 0 failed, 0 retries, .* read, half within \S+ m?s, 99 % within/m,
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

const hasScript = await hasProgram('script');

/** Collects what a program says on one of its streams. */
function heardOn(stream: Readable | null): { text: string } {
  const heard = { text: '' };
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    heard.text += chunk;
  });
  return heard;
}

describe.skipIf(mountObstacle !== undefined)('stats', () => {
  const running: ChildProcess[] = [];
  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL');
  });

  function watchWith(mounted: Mounted, ...options: readonly string[]) {
    const child = mounted.user.start('stats', mounted.path, '--interval', '0.2', ...options);
    running.push(child);
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    return { child, ended, out: heardOn(child.stdout), err: heardOn(child.stderr) };
  }

  test('--json: an object a line, which sees what is read', async () => {
    const mounted = await mountWith();
    const { child, ended, out, err } = watchWith(mounted, '--json');
    const lines = (): MountRates[] =>
      out.text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as MountRates);
    await expect.poll(() => lines().length).toBeGreaterThan(0);
    await mounted.sh('cat watched/data/item.bin | wc -c');
    const bytes = (): number =>
      lines().reduce((sum, { fetched, seconds }) => sum + fetched.bytesPerSecond * seconds, 0);
    await expect.poll(() => Math.round(bytes())).toBe(SIZE);
    const busy = lines().filter(({ storeRequests }) => storeRequests.length > 0);
    expect(busy.flatMap(({ storeRequests }) => storeRequests.map((each) => each.bucket))).toContain(
      bucket.bucket,
    );
    for (const { store } of busy) expect(store.requestsPerSecond).toBeGreaterThan(0);
    child.kill('SIGINT');
    expect(await ended).toEqual([0, null]);
    expect(err.text).toBe('');
  });

  test('a line for each interval where it is no terminal; it ends when nobody reads or the mount is gone', async () => {
    const mounted = await mountWith();
    const single = await mounted.user.run('stats', mounted.path, '--interval', '0.1', '--once');
    expect(single.stdout).toMatch(/^\d\d:\d\d:\d\d {2}kernel \S+\/s p50 .* {2}queue \d+\+\d+\n$/);
    expect(single).toMatchObject({ exitCode: 0, stderr: '' });
    const command = `stats '${mounted.path}' --interval 0.1 | head -n 2`;
    expect((await mounted.sh(`'${process.execPath}' '${CLI}' ${command}`)).trim().split('\n')).toHaveLength(
      2,
    );

    const { ended, out, err } = watchWith(mounted);
    await expect.poll(() => out.text).toContain('\n');
    process.kill(mounted.pid, 'SIGKILL');
    expect(await ended).toEqual([0, null]);
    expect(err.text).toBe(`The mount at ${mounted.path} has ended.\n`);
    expect(await mounted.user.run('stats', mounted.path)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/no mount of yours answers at .*\n"dtool-ecs-mount status" tells/),
    });
  });

  test.skipIf(!hasScript)('on a terminal it is drawn anew in place', async () => {
    const mounted = await mountWith();
    const command = `stty rows 50 cols 80; exec '${process.execPath}' '${CLI}' stats '${mounted.path}' --interval 0.1`;
    const child = mounted.user.startProgram(
      'script',
      '--quiet',
      '--return',
      '--command',
      command,
      '/dev/null',
    );
    running.push(child);
    const ended = once(child, 'exit');
    const out = heardOn(child.stdout);
    const frames = (): string[] => out.text.split('\u001b[J');
    await expect.poll(() => frames().length).toBeGreaterThan(3);
    // What Ctrl-C types.
    child.stdin.write('\u0003');
    expect(await ended).toEqual([0, null]);
    const [, first = '', second = ''] = frames();
    expect(first).toContain(mounted.path);
    // Back up over as many lines as there were.
    expect(first.endsWith(`\u001b[${first.split('\n').length - 1}A\r`)).toBe(true);
    expect(second).toContain('KERNEL');
  });
});

describe.skipIf(mountObstacle !== undefined)('metrics', () => {
  const urlIn = (text: string): string => /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(text)?.[0] ?? '';

  test('agree with status, in the format of Prometheus, until the mount is gone', async () => {
    const mounted = await mountWith('--metrics-port', '0');
    await mounted.sh('cat watched/data/item.bin | wc -c');
    const status = await settled(mounted);
    const url = status.metrics ?? '';
    expect(url).toBe(urlIn(url));
    expect((await mounted.user.run('status')).stdout).toContain(url);
    const answer = await fetch(url);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const metrics = readMetrics(await answer.text());
    const prefix = 'dtool_ecs_mount';
    const valueOf = (name: string, labels = ''): number | undefined =>
      metrics.get(`${prefix}_${name}`)?.samples.get(`${prefix}_${name}${labels}`);

    expect(
      valueOf('info', `{mountpoint="${mounted.path}",version="${status.version}",transport="kernel"}`),
    ).toBe(1);
    for (const { bucket: of, operation, requests, bytesRead, latency } of status.store.operations) {
      const labels = `{bucket="${of}",operation="${operation}"}`;
      expect(valueOf('store_requests_total', labels)).toBe(requests);
      expect(valueOf('store_read_bytes_total', labels)).toBe(bytesRead);
      expect(
        metrics
          .get(`${prefix}_store_request_duration_seconds`)
          ?.samples.get(`${prefix}_store_request_duration_seconds_sum${labels}`),
      ).toBeCloseTo(latency.sumMs / 1000);
    }
    expect(valueOf('store_requests_running')).toBe(0);
    expect(valueOf('cache_bytes_total', '{layer="store"}')).toBe(SIZE);
    expect(valueOf('cache_hits_total', '{layer="memory"}')).toBe(status.cache.hits);
    expect(valueOf('cache_misses_total', '{layer="disk"}')).toBe(status.cache.disk?.misses);
    expect(valueOf('read_ahead_used_bytes_total')).toBe(status.cache.readAhead.usedBytes);
    expect(
      metrics
        .get(`${prefix}_kernel_request_duration_seconds`)
        ?.samples.get(`${prefix}_kernel_request_duration_seconds_count{operation="open"}`),
    ).toBe(1);
    const started = metrics.get('process_start_time_seconds')?.samples.get('process_start_time_seconds');
    expect(started).toBe(Date.parse(status.startedAt) / 1000);
    // All else that there is has a name of ours.
    expect([...metrics.keys()].filter((name) => !name.startsWith(`${prefix}_`))).toEqual([
      'process_start_time_seconds',
      'process_resident_memory_bytes',
      'process_cpu_seconds_total',
    ]);

    await mounted.user.run('umount', mounted.path);
    await expect(fetch(url)).rejects.toThrow('fetch failed');
  });

  test('the mount says where they are; where the port is taken nothing is mounted', async () => {
    const mounted = await mountWith();
    expect((await mounted.status()).metrics).toBeUndefined();
    const other = join(mounted.user.home, 'other');
    await mkdir(other);
    const first = await mounted.user.run('mount', bucket.bucket, other, '--metrics-port', '0', '--read-only');
    expect(first).toMatchObject({ exitCode: 0, stderr: '' });
    const url = urlIn(first.stdout);
    expect(readMetrics(await (await fetch(url)).text()).size).toBeGreaterThan(10);
    const third = join(mounted.user.home, 'third');
    await mkdir(third);
    const { port } = new URL(url);
    expect(await mounted.user.run('mount', bucket.bucket, third, '--metrics-port', port)).toEqual({
      stdout: '',
      exitCode: 1,
      stderr:
        `dtool-ecs-mount: metrics can't be served on port ${port} of 127.0.0.1: it is in use\n` +
        'Give another with --metrics-port, or 0 for any that is free.\n',
    });
    await mounted.user.run('umount', other);
    // Neither is, nor is the port kept.
    expect((await mounted.user.exec('findmnt', '-n', other, third)).stdout).toBe('');
    const again = await mounted.user.run(
      'mount',
      bucket.bucket,
      third,
      '--metrics-port',
      port,
      '--read-only',
    );
    expect(again).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(url) });
    await mounted.user.run('umount', third);
  });
});
