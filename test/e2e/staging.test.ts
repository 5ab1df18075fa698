import { randomBytes } from 'node:crypto';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { CLI, type Mounted, mount, mountObstacle, User } from '../support/mounted.ts';
import { asNobody, NOBODY, nodeIn, obstacleForNobody } from '../support/nobody.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

const run = promisify(execFile);

/** Runs a shell command in a mount and returns what it wrote to both, whatever its end. */
const outcome = async ({ user, path }: Mounted, command: string): Promise<string> => {
  const { stdout, stderr } = await user.exec('bash', '-c', `cd '${path}' && ${command}`);
  return stdout + stderr;
};

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)('staging/ over %s', (transport) => {
  let bucket: TestBucket;
  let mounted: Mounted;
  let source: string;

  beforeAll(async () => {
    source = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-source-'));
    await mkdir(join(source, 'results/deep'), { recursive: true });
    await writeFile(join(source, 'results/README.yml'), 'description: staged\n');
    await writeFile(join(source, 'results/deep/naïve file (1).bin'), randomBytes(3_000_000));
    bucket = await createTestBucket();
    mounted = await mount(bucket.env, [bucket.bucket], '--transport', transport);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
    await rm(source, { recursive: true });
  });

  test('takes a copy, which a rename onto the root makes a dataset', async () => {
    await mounted.sh(`cp -r '${source}/results' staging/`);
    expect(await mounted.sh(`diff -r '${source}/results' staging/results && ls staging`)).toBe('results\n');
    expect((await mounted.status()).staging).toMatchObject([{ name: 'results', state: 'open' }]);
    await mounted.sh('mv staging/results .');
    expect(await mounted.sh('ls; ls staging')).toBe('results\nstaging\n');
    expect(
      await mounted.sh(`diff -r '${source}/results/deep' results/data/deep && cat results/README.yml`),
    ).toBe('description: staged\n');
    await mounted.sh(`cp -r '${source}/results' staging/`);
    expect(await outcome(mounted, 'mv staging/results .')).toMatch(/File exists|Directory not empty/);
    await mounted.sh('mv staging/results renamed');
    expect(await mounted.sh('ls; cat renamed/README.yml; ls staging')).toBe(
      'renamed\nresults\nstaging\ndescription: staged\n',
    );
  });

  test('freezes beside pipes and sockets that are to be ignored', async () => {
    await mounted.sh(
      'mkdir -p staging/busy/tmp && echo a > staging/busy/a && mkfifo staging/busy/p.sock staging/busy/tmp/q',
    );
    const freeze = async (...options: readonly string[]) =>
      mounted.user.run('freeze', join(mounted.path, 'staging/busy'), ...options);
    const refused = await freeze('--ignore', '*.sock');
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('tmp/q is a named pipe');
    expect(refused.stderr).not.toContain('p.sock is a named pipe');
    const frozen = await freeze('--ignore', '*.sock', '--ignore', 'tmp');
    expect(frozen.stdout + frozen.stderr).toMatch(/p\.sock is left out, as --ignore says[^]*tmp is left out/);
    expect(frozen.exitCode).toBe(0);
    expect(await mounted.sh('find busy/data -mindepth 1; ls staging')).toBe('busy/data/a\n');
  });

  test('holds folders and nothing else', async () => {
    for (const command of [
      'touch staging/file',
      'ln -s x staging/link',
      `cp '${source}/results/README.yml' staging/`,
    ]) {
      expect(await outcome(mounted, command)).toContain('Operation not permitted');
    }
    await mounted.sh('mkdir staging/a staging/b && echo x > staging/a/x && ln staging/a/x staging/a/y');
    expect(await outcome(mounted, 'mv staging/a/x staging/x')).toContain('Operation not permitted');
    expect(await outcome(mounted, 'ln staging/a/x staging/b/x')).toContain('Invalid cross-device link');
    expect(await outcome(mounted, 'touch new; mkdir new')).toMatch(/Read-only file system[^]*Read-only/);
    await mounted.sh(
      'mkdir staging/a/sub && mv staging/a/sub staging/c && rmdir staging/c && mv staging/b staging/a/',
    );
    await mounted.sh('mv staging/a staging/z');
    expect(await mounted.sh('ls staging staging/z')).toBe('staging:\nz\n\nstaging/z:\nb\nx\ny\n');
    await mounted.sh('rm -r staging/z');
    expect(await mounted.sh('ls staging')).toBe('');
  });
});

const WRITER = `
import os, sys
os.mkdir('staging/x')
d = os.open('staging/x', os.O_RDONLY)
f = os.open('staging/x/file', os.O_RDWR | os.O_CREAT)
for i in range(10_000_000):
    os.write(f, b'%08d' % i)
    if i % 100 == 0:
        os.fsync(f); os.fsync(d)
        sys.stdout.write('%d\\n' % i); sys.stdout.flush()
`;

describe.skipIf(mountObstacle !== undefined)('a staging area', () => {
  let bucket: TestBucket;
  const mounts: Mounted[] = [];
  const directories: string[] = [];

  const temporary = async (name: string): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), `dtool-ecs-mount-test-${name}-`));
    directories.push(directory);
    return directory;
  };
  const mountIt = async (...options: readonly string[]): Promise<Mounted> => {
    const mounted = await mount(bucket.env, [bucket.bucket], ...options);
    mounts.push(mounted);
    return mounted;
  };

  beforeEach(async () => {
    bucket = await createTestBucket();
  });
  afterEach(async () => {
    for (const mounted of mounts.splice(0)) await mounted.close();
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
    await bucket.close();
  });

  test('has one mount at a time; another one reads, and tells who has it', async () => {
    const area = await temporary('staging');
    const first = await mountIt('--staging-dir', area);
    await first.sh('mkdir staging/a');
    const second = await mountIt('--staging-dir', area);
    expect(await outcome(second, 'ls; ls staging; mkdir staging/b')).toMatch(
      /^staging\n.*Read-only file system/,
    );
    const [problem] = (await second.status()).problems;
    expect(problem).toMatchObject({ bucket: bucket.bucket, key: 'staging/' });
    expect(problem?.reason).toContain(`the mount at ${first.path} (process ${first.pid}) has it`);
    expect(problem?.reason).toContain(`dtool-ecs-mount umount ${first.path}`);
    expect((await first.status()).problems).toEqual([]);
  });

  test('is not there in a read-only mount', async () => {
    const mounted = await mountIt('--read-only');
    expect(await outcome(mounted, 'ls; mkdir staging')).toContain('Read-only file system');
    expect(await mounted.sh('ls')).toBe('');
  });

  test('keeps what was synced through SIGKILL of the mount, and the next mount has it', async () => {
    const area = await temporary('staging');
    const mounted = await mountIt('--staging-dir', area);
    const child = spawn('python3', ['-c', WRITER], {
      cwd: mounted.path,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    let synced = -1;
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      synced = Math.max(synced, ...text.trim().split('\n').map(Number));
      if (synced >= 500) process.kill(mounted.pid, 'SIGKILL');
    });
    await exited;
    await mounted.user.run('umount', mounted.path);
    const next = await mountIt('--staging-dir', area);
    expect((await next.status()).problems).toEqual([]);
    const content = await next.sh('cat staging/x/file');
    expect(content.length).toBeGreaterThanOrEqual((synced + 1) * 8);
    const numbers = (content.match(/.{8}/g) ?? []).map(Number);
    expect(numbers).toEqual(numbers.map((_, index) => index));
    await next.sh('echo more >> staging/x/file && mv staging/x staging/y && rm -r staging/y');
  });

  test('tells a writer of a full disk, loses nothing, and df knows', async () => {
    const area = await temporary('full');
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4M,nr_inodes=200', 'full', area]);
    try {
      const mounted = await mountIt('--staging-dir', area);
      const room = async (): Promise<number> =>
        Number((await mounted.sh('df --output=avail -B1 . | tail -1')).trim());
      const before = await room();
      expect(before).toBeGreaterThan(3_500_000);
      expect(before).toBeLessThanOrEqual(4 << 20);
      await mounted.sh('mkdir staging/x && head -c 1000000 /dev/zero | tr "\\0" a > staging/x/kept');
      expect(before - (await room())).toBeGreaterThanOrEqual(1_000_000);
      for (const command of [
        'head -c 9000000 /dev/zero > big',
        'head -c 9000000 /dev/zero | dd of=small bs=1000 conv=fsync',
        'rm big small; fallocate -l 9000000 reserved',
        'touch $(seq 300)',
      ]) {
        const said = await outcome(mounted, `cd staging/x && ${command}`);
        expect(said, command).toContain('No space left on device');
      }
      await mounted.sh(
        'cd staging/x && rm -f reserved [0-9]* && test "$(tr -d a < kept | wc -c) $(wc -c < kept)" = "0 1000000" && cp kept again && cmp kept again',
      );
      await mounts.pop()?.close();
    } finally {
      await run('umount', ['-l', area]);
    }
  });

  test('goes on working while the store is away', async () => {
    const mounted = await mountIt();
    await mounted.sh('mkdir staging/x');
    await bucket.close();
    await mounted.sh('cd staging && mkdir y && echo a > y/a && mv y/a x/b && cat x/b && rm -r x y');
    await mounts.pop()?.close();
    bucket = await createTestBucket();
  });
});

/** What the modes of files forbid their owner, and how a program hears of it. */
const MODES = `
  umask 027; mkdir d; echo text > f; chmod 000 f; cat f; echo x > f; chmod 600 f; cat f
  touch shared; chmod 444 shared; echo x >> shared; chmod 555 d; touch d/f; chmod 755 d; touch d/f; ls -ln d | tail -1 | cut -c 1-10
  chown 0 f; chgrp 65534 f; ln f g; cp -a f h; stat -c '%a %h %u' f g h d; chmod 500 d; rm -r d; chmod 700 d; rm -r d; ls`;

describe.skipIf(obstacleForNobody !== '')(`a user who is not root stages${obstacleForNobody}`, () => {
  test.each([[[]], [['--allow-other']]])(
    'with %j: what is allowed is allowed, and what is not is not',
    async (options) => {
      const bucket = await createTestBucket();
      const user = await User.create();
      const [path, local] = [join(user.home, 'mnt'), join(user.home, 'local')];
      try {
        // Of nobody, as all that its mount makes.
        for (const directory of [path, local]) await mkdir(directory);
        // A shell on the way drops variables that have a hyphen in their names.
        await mkdir(join(user.home, '.config/dtool'), { recursive: true });
        const config = join(user.home, '.config/dtool/dtool.json');
        await writeFile(config, JSON.stringify(bucket.env), { mode: 0o600 });
        await chown(config, NOBODY, NOBODY);
        for (const directory of [user.home, path, local]) await chown(directory, NOBODY, NOBODY);
        await chmod(user.home, 0o755);
        const node = await nodeIn(user.home);
        const script = `
        '${node}' '${CLI}' mount '${bucket.bucket}' '${path}' ${options.join(' ')} > /dev/null || exit 1
        cd '${path}/staging' && mkdir x && cd x && { ${MODES}
        } > ../../../there 2>&1
        cd '${local}' && { ${MODES}
        } > ../here 2>&1
        cd '${path}' && mv staging/x frozen && cat frozen/data/f; ls -d frozen staging/x; cd /
        '${node}' '${CLI}' umount '${path}'`;
        const [command = '', ...rest] = asNobody('666', 'user_allow_other');
        const { stdout, stderr } = await user.exec(command, ...rest, 'bash', '-c', script);
        expect(stderr).toMatch(/^ls: cannot access 'staging\/x'.*\n$/);
        expect(stdout).toMatch(/^text\nfrozen\n/);
        const said = async (name: string): Promise<string> =>
          (await readFile(join(user.home, name), 'utf8')).replaceAll(/line \d+/g, 'line');
        expect(await said('there')).toBe(await said('here'));
        expect(await said('here')).toContain('Permission denied');
      } finally {
        await user.remove();
        await bucket.close();
      }
    },
  );
});
