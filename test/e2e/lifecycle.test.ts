import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { type S3Server, startS3Server } from '../../src/demo/s3/server.ts';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { datasetOf, uuidOf } from '../support/datasets.ts';
import { CLI, hasProgram, type Mounted, User, mount, mountObstacle } from '../support/mounted.ts';
import { compileProgram } from '../support/run-typescript.ts';
import { type TestBucket, configurationOf, createTestBucket } from '../support/test-bucket.ts';

/** Keeps the device of a mount open, as a thread does that the kernel does not let go of when its process is killed. */
const HOLDER = `
import ctypes, os, sys
pid = int(sys.argv[1])
fds = '/proc/%d/fd/' % pid
device = next(int(fd) for fd in os.listdir(fds) if os.readlink(fds + fd) == '/dev/fuse')
PIDFD_GETFD = 438
if ctypes.CDLL(None).syscall(PIDFD_GETFD, os.pidfd_open(pid), device, 0) < 0: sys.exit(1)
print('holding', flush=True)
sys.stdin.read()
`;

/** Says so, and asks a mount for what only its process can answer. */
const WAITER = `
import os, sys
print('asking', flush=True)
os.statvfs(sys.argv[1])
`;

const isRoot = process.getuid?.() === 0;
const hasPython = await hasProgram('python3');
/** Only through this can a connection be aborted whose process is gone. Root mounts it where it is missing. */
const canAbort = isRoot || (await readFile('/proc/self/mounts', 'utf8')).includes(' fusectl ');
if (!hasPython || !canAbort)
  process.stderr.write(
    'SKIPPED: a device that stays open, because it needs python3 and fusectl (or root).\n',
  );

describe.skipIf(mountObstacle !== undefined)('the life of a mount', () => {
  let bucket: TestBucket;
  let mounted: Mounted | undefined;

  beforeAll(async () => {
    bucket = await createTestBucket();
    await bucket.putDataset(datasetOf('dataset', { 'file.txt': 'content' }));
  });
  afterAll(async () => {
    await bucket.close();
  });
  afterEach(async () => {
    await mounted?.close();
    mounted = undefined;
  });

  const isMounted = async (path: string): Promise<boolean> =>
    (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${path} `);

  test('in the foreground it says so, and Ctrl-C ends it', async () => {
    const user = await User.create(bucket.env);
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const process = user.start('mount', bucket.bucket, path, '--foreground');
      const ended = once(process, 'exit');
      const [said] = process.stdout ? await once(process.stdout, 'data') : [];
      expect(String(said)).toContain(`${path} is mounted`);
      expect((await user.exec('cat', `${path}/dataset/data/file.txt`)).stdout).toBe('content');
      process.kill(signal);
      expect(await ended).toEqual([0, null]);
      expect(await isMounted(path)).toBe(false);
    }
    await rm(path, { recursive: true });
    await user.remove();
  });

  test('in the background: SIGTERM ends it', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    process.kill(mounted.pid, 'SIGTERM');
    await expect.poll(async () => isProcessAlive(mounted?.pid ?? 0), { timeout: 10_000 }).toBe(false);
    expect(await isMounted(mounted.path)).toBe(false);
    expect((await mounted.user.run('status')).stdout).toBe('Nothing is mounted.\n');
  });

  test('killed, it leaves a dead mount: the next mount clears it, and so does umount', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    // The kernel knows the root from now on, and will go on to when nobody serves it.
    await mounted.sh('stat .');
    process.kill(mounted.pid, 'SIGKILL');
    await expect.poll(async () => isProcessAlive(mounted?.pid ?? 0), { timeout: 10_000 }).toBe(false);
    const dead = await mounted.user.exec('ls', mounted.path);
    expect(dead.stderr).toMatch(/not connected|connection abort/);
    expect((await mounted.user.run('status')).stdout).toBe('Nothing is mounted.\n');
    expect(await mounted.user.run('mount', bucket.bucket, mounted.path)).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    const { pid } = await mounted.status();
    expect(await mounted.sh('cat dataset/data/file.txt')).toBe('content');
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => isProcessAlive(pid), { timeout: 10_000 }).toBe(false);
    expect(await mounted.user.run('umount', mounted.path)).toMatchObject({ exitCode: 0 });
    expect(await isMounted(mounted.path)).toBe(false);
  });

  test.skipIf(!hasPython || !canAbort).each(['umount', 'mount'] as const)(
    'killed, while the kernel keeps its device open: %s frees who waits and clears it',
    async (command) => {
      mounted = await mount(bucket.env, [bucket.bucket]);
      const { user, path, pid } = mounted;
      const holder = user.startProgram('python3', '-c', HOLDER, String(pid));
      await once(holder.stdout, 'data');
      process.kill(pid, 'SIGKILL');
      await expect.poll(async () => isProcessAlive(pid), { timeout: 10_000 }).toBe(false);
      const waiting = user.startProgram('python3', '-c', WAITER, path);
      const freed = once(waiting, 'exit');
      await once(waiting.stdout, 'data');
      const args = command === 'mount' ? ['mount', bucket.bucket, path] : ['umount', path];
      expect(await user.run(...args)).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await freed).toEqual([1, null]);
      if (command === 'mount') expect(await mounted.sh('cat dataset/data/file.txt')).toBe('content');
      else expect(await isMounted(path)).toBe(false);
      holder.stdin.end();
      await once(holder, 'close');
    },
  );

  test('suspended, it is silent, and who asks whether it lives can end', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    const { user, path, pid } = mounted;
    const module = await compileProgram(resolve(import.meta.dirname, '../../src/fuse/mountpoint.ts'));
    onTestFinished(module.remove);
    const script = `const { mountState } = await import('${module.path}'); console.log(await mountState('${path}'))`;
    const ask = async (): Promise<string> =>
      (await user.exec(process.execPath, '--input-type=module', '-e', script)).stdout;
    expect(await ask()).toBe('alive\n');
    process.kill(pid, 'SIGSTOP');
    try {
      const [state, status, discard] = await Promise.all([
        ask(),
        user.run('status'),
        user.run('discard', randomUUID(), '--bucket', bucket.bucket, '--yes'),
      ]);
      expect(state).toBe('silent\n');
      const silent = `the mount of process ${pid} has not answered for 5 s\nIf it is suspended, "kill -CONT ${pid}"`;
      expect(status).toMatchObject({ exitCode: 0, stdout: '', stderr: expect.stringContaining(silent) });
      // It may be the one that freezes what is to be discarded.
      expect(discard).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(silent) });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await mounted.sh('cat dataset/data/file.txt')).toBe('content');
  });

  test.each(TRANSPORT_NAMES)(
    'with --auto-unmount no mount is left when it is killed (%s)',
    async (transport) => {
      const options = ['--auto-unmount', '--transport', transport];
      const killed = await mount(bucket.env, [bucket.bucket], ...options);
      const file = await open(`${killed.path}/dataset/data/file.txt`);
      process.kill(killed.pid, 'SIGKILL');
      await expect.poll(async () => isMounted(killed.path), { timeout: 20_000 }).toBe(false);
      // A file that was not flushed says so.
      await file.close().catch(() => {});
      await killed.close();

      const ended = await mount(bucket.env, [bucket.bucket], ...options);
      const guards = async (): Promise<string> =>
        (await ended.user.exec('pgrep', '-f', `auto-unmount .*${ended.path}`)).stdout;
      expect(await guards()).not.toBe('');
      await ended.close();
      await expect.poll(guards, { timeout: 20_000 }).toBe('');
    },
  );

  test('a second mount at the same place is refused and the first one lives on', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    const second = await mounted.user.run('mount', bucket.bucket, mounted.path);
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toContain('is mounted already');
    expect(await mounted.sh('cat dataset/data/file.txt')).toBe('content');
  });

  test('umount from outside ends the process, too', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    const { exitCode } = await mounted.user.exec(
      isRoot ? 'umount' : 'fusermount3',
      ...(isRoot ? [] : ['-u']),
      mounted.path,
    );
    expect(exitCode).toBe(0);
    await expect.poll(async () => isProcessAlive(mounted?.pid ?? 0), { timeout: 10_000 }).toBe(false);
  });

  test('the path may have spaces and other odd characters', async () => {
    const user = await User.create(bucket.env);
    const path = join(user.home, 'sp ace\\ "quoted" $(echo x) ü');
    await mkdir(path);
    expect(await user.run('mount', bucket.bucket, path)).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await user.exec('cat', `${path}/dataset/data/file.txt`)).stdout).toBe('content');
    expect(await user.run('umount', path)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await isMounted(path)).toBe(false);
    await user.remove();
  });

  test('the mountpoint may be given by a link, and relative', async () => {
    const user = await User.create(bucket.env);
    const path = join(user.home, 'real');
    await mkdir(path);
    await symlink(path, join(user.home, 'link'));
    expect(await user.run('mount', bucket.bucket, join(user.home, 'link'))).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    expect((await user.exec('cat', `${path}/dataset/data/file.txt`)).stdout).toBe('content');
    const relative = await user.exec(
      'bash',
      '-c',
      `cd ${user.home} && ${process.execPath} ${CLI} umount ./link`,
    );
    expect(relative).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await isMounted(path)).toBe(false);
    await user.remove();
  });

  test('--uid, --gid, --umask and --read-only', async () => {
    mounted = await mount(
      bucket.env,
      [bucket.bucket],
      ...['--uid', '1234', '--gid', '4321', '--umask', '077', '--read-only'],
    );
    const { uid, gid, mode } = await stat(join(mounted.path, 'dataset/data/file.txt'));
    expect({ uid, gid, mode: mode & 0o7777 }).toEqual({ uid: 1234, gid: 4321, mode: 0o400 });
    expect((await stat(join(mounted.path, 'dataset'))).mode & 0o7777).toBe(0o500);
    const { stdout } = await mounted.user.exec('findmnt', '-n', '-o', 'OPTIONS', mounted.path);
    expect(stdout.split(',')).toContain('ro');
  });

  test('--allow-non-empty', async () => {
    const user = await User.create(bucket.env);
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    await writeFile(join(path, 'hidden'), 'still there');
    expect(await user.run('mount', bucket.bucket, path, '--allow-non-empty')).toMatchObject({ exitCode: 0 });
    expect((await user.exec('ls', path)).stdout).toBe('dataset\nstaging\n');
    expect(await user.run('umount', path)).toMatchObject({ exitCode: 0 });
    expect(await readFile(join(path, 'hidden'), 'utf8')).toBe('still there');
    await rm(path, { recursive: true });
    await user.remove();
  });
});

describe.skipIf(mountObstacle !== undefined)('several buckets', () => {
  const keys = { accessKeyId: 'tester', secretAccessKey: 'of-tests' };
  const configuration = (server: S3Server): Record<string, string> => ({
    ...configurationOf('first', server.endpoint, keys),
    ...configurationOf('second', server.endpoint, keys),
    ...configurationOf('third-that-is-missing', server.endpoint, keys),
  });
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server({ users: [{ name: 'tester', ...keys }], buckets: ['first', 'second'] });
    for (const bucket of ['first', 'second']) {
      for (const { key, body, metadata } of datasetObjects(
        datasetOf(`in-the-${bucket}`, { 'file.txt': bucket }),
      )) {
        await server.putObject(bucket, key, body, metadata ? { metadata } : {});
      }
    }
  });
  afterAll(async () => {
    await server.close();
  });

  test('each has its directory', async () => {
    const mounted = await mount(configuration(server), ['first', 'second']);
    expect(await mounted.sh('ls | xargs; cat second/in-the-second/data/file.txt')).toBe(
      'first second\nsecond',
    );
    await mounted.close();
  });

  test('--all takes those that are configured, and tells of those that can’t be used', async () => {
    const mounted = await mount(configuration(server), [], '--all');
    expect(await mounted.sh('ls | xargs; ls first')).toBe('first second\nin-the-first\nstaging\n');
    const { problems } = await mounted.status();
    expect(problems.map(({ bucket }) => bucket)).toEqual(['third-that-is-missing']);
    const { stdout } = await mounted.user.run('ls', '--json', join(mounted.path, 'first'));
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'in-the-first', items: 1 }]);
    await mounted.close();
  });

  test('one that can’t be used at first is named, and comes as soon as it can be', async () => {
    const late = await startS3Server({ users: [{ name: 'tester', ...keys }], buckets: ['late', 'keyless'] });
    const options = { port: Number(new URL(late.endpoint).port) };
    await late.close();
    const user = await User.create();
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    const configure = async (values: Record<string, string>): Promise<void> => {
      await mkdir(join(user.home, '.config/dtool'), { recursive: true });
      await writeFile(join(user.home, '.config/dtool/dtool.json'), JSON.stringify(values), { mode: 0o600 });
    };
    const complete = {
      ...configurationOf('first', server.endpoint, keys),
      ...configurationOf('late', late.endpoint, keys),
      ...configurationOf('keyless', late.endpoint, keys),
    };
    await configure({ ...complete, DTOOL_ECS_SECRET_ACCESS_KEY_keyless: '' });
    let back: S3Server | undefined;
    try {
      const mounted = await user.run('mount', '--all', path);
      expect(mounted.exitCode, mounted.stderr).toBe(0);
      expect(mounted.stderr).toMatch(/bucket late is not there yet: .*appears as soon as it can be used/);
      expect(mounted.stderr).toMatch(
        /bucket keyless is not there yet: .*DTOOL_ECS_SECRET_ACCESS_KEY_keyless/,
      );
      expect((await user.exec('ls', path)).stdout).toBe('first\n');
      const [status] = await user.mounts();
      expect(status?.problems.map(({ bucket }) => bucket).toSorted()).toEqual(['keyless', 'late']);

      back = await startS3Server({
        ...options,
        users: [{ name: 'tester', ...keys }],
        buckets: ['late', 'keyless'],
      });
      for (const { key, body, metadata } of datasetObjects(datasetOf('set', { 'file.txt': 'late' })))
        await back.putObject('late', key, body, metadata ? { metadata } : {});
      await expect.poll(async () => (await user.exec('ls', path)).stdout).toBe('first\nlate\n');
      expect((await user.exec('cat', join(path, 'late/set/data/file.txt'))).stdout).toBe('late');
      expect(await user.exec('mkdir', join(path, 'late/staging/new'))).toMatchObject({ exitCode: 0 });

      await configure(complete);
      process.kill(Number(status?.pid), 'SIGHUP');
      await expect.poll(async () => (await user.exec('ls', path)).stdout).toBe('first\nkeyless\nlate\n');
      expect((await user.mounts())[0]?.problems).toEqual([]);
    } finally {
      await user.unmount(path);
      await back?.close();
      await rm(path, { recursive: true });
      await user.remove();
    }
  });

  test('--all takes any number of buckets', async () => {
    const names = Array.from({ length: 80 }, (_, index) => `bucket-with-${'a-long-'.repeat(6)}name-${index}`);
    const more = names.map((name) => configurationOf(name, server.endpoint, keys));
    const mounted = await mount(Object.assign(configuration(server), ...more), [], '--all');
    expect(await mounted.sh('cat second/in-the-second/data/file.txt')).toBe('second');
    const { stdout } = await mounted.user.exec('findmnt', '-n', '-o', 'SOURCE', mounted.path);
    expect(stdout).toMatch(/^bucket-with-.*\+and-\d+-more\n$/);
    await mounted.close();
  });

  test('from dtool’s configuration file', async () => {
    const user = await User.create();
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    await mkdir(join(user.home, '.config/dtool'), { recursive: true });
    await writeFile(join(user.home, '.config/dtool/dtool.json'), JSON.stringify(configuration(server)), {
      mode: 0o600,
    });
    expect(await user.run('first', path)).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await user.exec('ls', path)).stdout).toBe('in-the-first\nstaging\n');
    expect(await user.run('umount', path)).toMatchObject({ exitCode: 0, stderr: '' });
    await rm(path, { recursive: true });
    await user.remove();
  });
});

describe.skipIf(mountObstacle !== undefined)('what changes in the bucket', () => {
  let bucket: TestBucket;
  let mounted: Mounted;
  beforeEach(async () => {
    bucket = await createTestBucket();
    await bucket.putDataset(datasetOf('dataset', { 'file.txt': 'content' }));
  });
  afterEach(async () => {
    await mounted.close();
    await bucket.close();
  });

  test('is seen after --refresh: new, renamed, frozen and deleted datasets, README and tags', async () => {
    mounted = await mount(bucket.env, [bucket.bucket], '--refresh', '0.2');
    const sees = async (command: string, output: string): Promise<void> =>
      expect
        .poll(async () => mounted.sh(command).catch((error: unknown) => String(error)), { timeout: 20_000 })
        .toBe(output);
    expect(await mounted.sh('ls; cat dataset/README.yml; ls dataset/.dtool/tags')).toBe(
      'dataset\nstaging\n---\ndescription: dataset\n',
    );
    await bucket.putDataset(datasetOf('another', { 'file.txt': 'new' }));
    await bucket.putDataset(datasetOf('proto', { 'file.txt': 'open' }, { frozenAt: null }));
    await sees('ls | xargs', 'another dataset staging\n');
    await sees('ls .proto', `proto~${uuidOf('proto').slice(0, 8)}\n`);
    await bucket.putDataset(datasetOf('proto', { 'file.txt': 'open' }));
    await bucket.put(`${uuidOf('dataset')}/README.yml`, '---\ndescription: a longer text than before\n');
    await bucket.put(`${uuidOf('dataset')}/tags/fresh`, '');
    await sees('ls | xargs', 'another dataset proto staging\n');
    await sees('cat proto/data/file.txt', 'open');
    await sees('cat dataset/README.yml', '---\ndescription: a longer text than before\n');
    await sees('ls dataset/.dtool/tags', 'fresh\n');
    for (const { key } of datasetObjects(datasetOf('another', { 'file.txt': 'new' })))
      await bucket.delete(key);
    await bucket.putDataset(datasetOf('renamed', { 'file.txt': 'content' }, { uuid: uuidOf('dataset') }));
    await sees('ls | xargs', 'proto renamed staging\n');
  });

  test('is seen at once after SIGHUP', async () => {
    mounted = await mount(bucket.env, [bucket.bucket], '--refresh', '1000000');
    expect(await mounted.sh('ls')).toBe('dataset\nstaging\n');
    await bucket.putDataset(datasetOf('another', {}));
    expect(await mounted.sh('ls; cat dataset/README.yml')).toBe(
      'dataset\nstaging\n---\ndescription: dataset\n',
    );
    await bucket.put(`${uuidOf('dataset')}/README.yml`, 'new');
    process.kill(mounted.pid, 'SIGHUP');
    await expect.poll(async () => mounted.sh('ls'), { timeout: 20_000 }).toBe('another\ndataset\nstaging\n');
    expect(await mounted.sh('cat dataset/README.yml')).toBe('new');
  });
});
