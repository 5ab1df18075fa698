import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Fault } from '../../src/demo/s3/fault.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { datasetOf } from '../support/datasets.ts';
import { CLI, type CommandResult, type Mounted, mount, mountObstacle, User } from '../support/mounted.ts';
import { AS_NOBODY, asNobody, NOBODY, nodeIn, obstacleForNobody } from '../support/nobody.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';
import { allWritten } from '../support/written.ts';

const isRoot = process.getuid?.() === 0;
const STALLED = '/data/';

let bucket: TestBucket;
let onPut: (() => Fault) | undefined;

beforeAll(async () => {
  bucket = await createEmbeddedBucket({
    intercept: async ({ method, key }) => (method === 'PUT' && key.includes(STALLED) ? onPut?.() : undefined),
  });
  await bucket.putDataset(datasetOf('leaves', { 'a.txt': 'green' }));
});
afterEach(() => {
  onPut = undefined;
});
afterAll(() => bucket.close());

describe.skipIf(mountObstacle !== undefined)('what is written', { timeout: 120_000 }, () => {
  let user: User;
  let path: string;
  beforeEach(async () => {
    user = await User.create(bucket.env);
    path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
  });
  afterEach(async () => {
    await user.unmount(path);
    await rm(path, { recursive: true });
    await user.remove();
  });

  /** Runs the program as somebody whose files are for everybody. */
  const run = async (...args: readonly string[]): Promise<CommandResult> =>
    user.exec('bash', '-c', 'umask 000; exec "$@"', 'bash', process.execPath, CLI, ...args);
  const done = async (...args: readonly string[]): Promise<void> => {
    const { exitCode, stderr } = await run(...args);
    expect({ args, exitCode, stderr }).toMatchObject({ exitCode: 0 });
  };
  const sh = async (command: string): Promise<void> => {
    const { exitCode, stderr } = await user.exec('bash', '-c', `umask 000; cd '${path}' && ${command}`);
    expect({ command, exitCode, stderr }).toMatchObject({ exitCode: 0 });
  };
  const pidOfMount = async (): Promise<number> => {
    const [mounted] = await user.mounts();
    return mounted?.pid ?? 0;
  };

  test('is private, whatever the umask, and whenever the mount is killed', async () => {
    await done('mount', bucket.bucket, path);
    await sh('cat leaves/data/a.txt');
    await sh('mkdir staging/set && echo x > staging/set/f && mkdir staging/open && echo x > staging/open/f');
    await done('freeze', join(path, 'staging/set'));
    await done('warm', `${bucket.bucket}/leaves`);
    await done('verify', `${bucket.bucket}/leaves`);

    const put = new Promise<void>((resolve) => {
      onPut = () => {
        resolve();
        return { kind: 'no-answer' };
      };
    });
    const freezing = run('freeze', join(path, 'staging/open'));
    await put;
    const pid = await pidOfMount();
    process.kill(pid, 'SIGKILL');
    expect((await freezing).exitCode).toBe(1);
    await expect.poll(async () => isProcessAlive(pid)).toBe(false);
    const afterKill = await allWritten(user.home);
    onPut = undefined;

    await done('mount', bucket.bucket, path);
    await sh('cat leaves/data/a.txt && cat staging/open/f');
    const afterRemount = await allWritten(user.home);
    const kinds = {
      log: /^state\/.*\.log$/,
      journal: /^state\/.*\/freeze\/.*\.json$/,
      blocks: /^cache\/.*\/blocks-1\//,
      metadata: /^cache\/.*\/metadata-1\//,
      staging: /^state\/.*\/staging\/[^/]+\/owner$/,
      socket: /^dtool-ecs-mount\/.*\.sock$/,
    };
    for (const [kind, pattern] of Object.entries(kinds))
      for (const written of [afterKill, afterRemount])
        expect(written.filter((file) => pattern.test(file.path)).length, kind).toBeGreaterThan(0);
    // What is inside of staged folders has the modes that were asked for; the directory around them is closed.
    const ours = [...afterKill, ...afterRemount].filter(
      ({ path: at, stat: found }) => !/\/staging\/[^/]+\/folders\//.test(at) && !found.isSymbolicLink(),
    );
    const open = ours.filter(
      ({ stat: found }) => (found.mode & 0o777) !== (found.isDirectory() ? 0o700 : 0o600),
    );
    expect(open.map(({ path: at, stat: found }) => `${at} ${(found.mode & 0o777).toString(8)}`)).toEqual([]);
  });

  test('is closed to others where it was open to them; what the user has named stays as it is', async () => {
    await done('mount', bucket.bucket, path);
    await sh('cat leaves/data/a.txt && mkdir staging/set && echo x > staging/set/f');
    await done('freeze', join(path, 'staging/set'));
    await done('umount', path);
    const modes = async (): Promise<ReadonlyMap<string, number>> =>
      new Map((await allWritten(user.home)).map((file) => [file.path, file.stat.mode & 0o777]));
    const opened = [...(await modes()).keys()].filter((at) =>
      /\/(blocks-1|metadata-1|freeze|log|log\/.*\.log|staging\/[^/]+)$/.test(at),
    );
    expect(opened).toHaveLength(6);
    for (const at of opened) await chmod(join(user.home, at), 0o755);
    await done('mount', bucket.bucket, path);
    await sh('mkdir staging/more && echo x > staging/more/f');
    await done('freeze', join(path, 'staging/more'));
    await done('umount', path);
    const closed = await modes();
    for (const at of opened) expect({ at, mode: (closed.get(at) ?? 0) & 0o077 }).toEqual({ at, mode: 0 });

    const named = join(user.home, 'named');
    await mkdir(named);
    await writeFile(join(named, 'of-the-user'), '');
    await chmod(named, 0o755);
    const place = ['--cache-dir', named, '--staging-dir', named, '--log-file', join(named, 'mount.log')];
    await done('mount', bucket.bucket, path, ...place);
    await sh('cat leaves/data/a.txt');
    await done('umount', path);
    const inNamed = (await allWritten(named)).filter(({ path: at }) => /^[^/]+$/.test(at));
    expect(Object.fromEntries(inNamed.map(({ path: at, stat: found }) => [at, found.mode & 0o777]))).toEqual({
      '.': 0o755,
      'of-the-user': expect.anything(),
      'mount.log': 0o600,
      'blocks-1': 0o700,
      'metadata-1': 0o700,
      [(await readdir(named)).find((name) => name.startsWith(bucket.bucket)) ?? '']: 0o700,
    });
  });

  test('goes nowhere where others could have put something of theirs', async () => {
    const shared = join(user.home, 'shared');
    await mkdir(shared);
    await chmod(shared, 0o777);
    const refused = await run('mount', bucket.bucket, path, '--cache-dir', shared);
    expect(refused).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(`in the place of ${shared}/`),
    });
    await done('mount', bucket.bucket, path, '--staging-dir', shared);
    const { stdout } = await user.run('status');
    expect(stdout).toContain('everybody may put something else in the place of');
    expect(await readdir(join(path, 'staging'))).toEqual([]);
  });
});

describe.skipIf(mountObstacle !== undefined || !isRoot)('another user', () => {
  let mounted: Mounted;
  afterEach(() => mounted.close());
  const byNobody = async (command: string): Promise<CommandResult> => {
    const [program, ...args] = [...AS_NOBODY, 'bash', '-c', `cd '${mounted.path}' && ${command}`];
    return mounted.user.exec(program, ...args);
  };

  test('gets nowhere without --allow-other', async () => {
    mounted = await mount(bucket.env, [bucket.bucket]);
    for (const command of ['ls', 'cat leaves/data/a.txt', 'mkdir staging/x'])
      expect(await byNobody(command)).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('Permission denied'),
      });
  });

  test('with --allow-other reads what is frozen, and of what is staged what its modes allow', async () => {
    mounted = await mount(bucket.env, [bucket.bucket], '--allow-other');
    await mounted.sh(
      'umask 022; mkdir staging/set; echo all > staging/set/all; echo mine > staging/set/mine',
    );
    await mounted.sh('chmod 600 staging/set/mine; mkdir -m 1777 staging/drop; mkdir -m 700 staging/closed');
    expect(await byNobody('cat leaves/data/a.txt staging/set/all')).toMatchObject({ stdout: 'greenall\n' });
    for (const command of [
      'cat staging/set/mine',
      'echo x > staging/set/all',
      'echo x > staging/set/new',
      'rm -f staging/set/all',
      'mv staging/set staging/other',
      'mv staging/set other',
      'mkdir staging/theirs',
      'ls staging/closed',
      'chmod 777 staging/set',
    ]) {
      const result = await byNobody(command);
      expect({ command, ...result }).not.toMatchObject({ exitCode: 0 });
      expect(result.stderr).toMatch(/Permission denied|Operation not permitted/);
    }
    expect(await byNobody('echo theirs > staging/drop/f && cat staging/drop/f')).toMatchObject({
      stdout: 'theirs\n',
    });
    const { uid } = await stat(join(mounted.path, 'staging/drop/f'));
    expect(uid).toBe(NOBODY);
    expect(await mounted.sh('cat staging/set/all staging/set/mine')).toBe('all\nmine\n');
    // Commands talk to the mount of their own user alone.
    const other = await byNobody(`'${process.execPath}' '${CLI}' umount '${mounted.path}'`);
    expect(other.exitCode).not.toBe(0);
    expect(await mounted.sh('cat leaves/data/a.txt')).toBe('green');
  });

  test('is held to --umask, --uid and --gid', async () => {
    mounted = await mount(bucket.env, [bucket.bucket], '--allow-other', '--umask', '077');
    expect(await byNobody('cat leaves/data/a.txt')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('Permission denied'),
    });
    await mounted.close();
    mounted = await mount(
      bucket.env,
      [bucket.bucket],
      ...['--allow-other', '--umask', '027', '--uid', '0', '--gid', String(NOBODY)],
    );
    expect(await byNobody('stat -c "%A %u %g" leaves/data/a.txt && cat leaves/data/a.txt')).toMatchObject({
      stdout: `-r--r----- 0 ${NOBODY}\ngreen`,
    });
  });
});

const userObstacle = isRoot ? obstacleForNobody : (mountObstacle?.reason ?? '');

describe.skipIf(userObstacle !== '')(`a user who is not root${userObstacle}`, { timeout: 120_000 }, () => {
  let user: User;
  let path: string;
  let node: string;
  beforeEach(async () => {
    user = await User.create();
    node = await nodeIn(user.home);
    const configuration = join(user.home, '.config/dtool');
    await mkdir(configuration, { recursive: true });
    await writeFile(join(configuration, 'dtool.json'), JSON.stringify(bucket.env), { mode: 0o600 });
    path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    if (isRoot) await user.exec('chown', '-R', `${NOBODY}:${NOBODY}`, user.home, path);
  });
  afterEach(async () => {
    await rm(path, { recursive: true });
    await user.remove();
  });

  /** Mounts, runs the lines of a script in the mount, and unmounts; `$dtool` is the program. Returns what it has printed. */
  const inMount = async (...lines: readonly string[]): Promise<string> => {
    const script = [
      'set -eu; umask 022',
      `dtool() { '${node}' '${CLI}' "$@"; }`,
      `dtool mount '${bucket.bucket}' '${path}' >&2`,
      `trap "cd /; dtool umount '${path}' >&2" EXIT`,
      `cd '${path}'`,
      ...lines,
    ].join('\n');
    const [program, ...args] = [...(isRoot ? asNobody() : ['env']), 'bash', '-c', script];
    const { exitCode, stdout, stderr } = await user.exec(program, ...args);
    expect(exitCode, stdout + stderr).toBe(0);
    return stdout;
  };

  test('copies a frozen dataset into staging, and changes, freezes and removes the copy', async () => {
    const seen = await inMount(
      'cp -r leaves/data staging/copy && stat -c %A staging/copy staging/copy/a.txt',
      'echo more >> staging/copy/a.txt && echo new > staging/copy/b.txt && mkdir -m 755 staging/copy/c',
      'cp -r leaves staging/copy/d && rm -r staging/copy/d',
      'dtool freeze staging/copy >&2 && cat copy/data/a.txt copy/data/b.txt && ls staging',
    );
    expect(seen).toBe('drwxr-xr-x\n-rw-r--r--\ngreenmore\nnew\n');
  });

  test('freezes, discards and removes folders without a write bit, as they were asked to be', async () => {
    const seen = await inMount(
      // Kept as they are: what is asked for after something was made counts.
      'cp -rp leaves/data staging/kept && mkdir staging/kept-2 && cp -p leaves/data/a.txt staging/kept-2/',
      'mkdir -p staging/deep/x/y && echo 1 > staging/deep/x/y/f',
      'chmod 555 staging/deep/x/y staging/deep/x staging/deep staging/kept-2',
      'stat -c %A staging/kept staging/kept/a.txt staging/kept-2/a.txt staging/deep',
      'for name in kept kept-2 deep; do dtool freeze "staging/$name" >&2; done; ls staging',
      'ls -d deep kept kept-2 && cat deep/data/x/y/f',
      'mkdir staging/given-up && echo 1 > staging/given-up/f && chmod 500 staging/given-up',
      'dtool discard staging/given-up --yes >&2; mkdir -m 555 staging/empty && rmdir staging/empty; ls staging',
    );
    expect(seen.split('\n')).toEqual([
      ...['dr-xr-xr-x', '-r--r--r--', '-r--r--r--', 'dr-xr-xr-x'],
      ...['deep', 'kept', 'kept-2', '1', ''],
    ]);
    // And of what was removed nothing is left on the disk.
    expect((await allWritten(user.home)).filter(({ path: at }) => /\/(folders|removed)\/./.test(at))).toEqual(
      [],
    );
  });
});

const STRANGER = 54_321;

describe.skipIf(obstacleForNobody !== '')(`without an entry in the user database${obstacleForNobody}`, () => {
  /** Nobody is known, not even root to systemd's module, and nothing of what is in /var/tmp stays. */
  const UNKNOWN = `
    mount --bind /dev/null /etc/passwd; mount -t tmpfs -o mode=1777 none /var/tmp
    echo 'passwd: files' > /var/tmp/.names; chmod 644 /var/tmp/.names
    mount --bind /var/tmp/.names /etc/nsswitch.conf; exec "$@"`;
  const UNSET = ['XDG_STATE_HOME', 'XDG_CACHE_HOME', 'USER', 'LOGNAME', 'LNAME', 'USERNAME'];
  // A shell passes on no variable whose name has a hyphen.
  const cli = (): string => {
    const settings = Object.entries(bucket.env).map(([name, value]) => `'${name}=${value}'`);
    return `env ${settings.join(' ')} "${node}" "${CLI}"`;
  };
  let user: User;
  let path: string;
  let node: string;
  beforeEach(async () => {
    user = await User.create(bucket.env);
    path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    node = await nodeIn(path);
  });
  afterEach(async () => {
    await rm(path, { recursive: true });
    await user.remove();
  });
  /** @param as what the script is run by */
  const run = async (as: readonly string[], script: string): Promise<CommandResult> => {
    const [command = '', ...args] = asNobody().slice(0, -AS_NOBODY.length);
    const env = ['env', ...UNSET.flatMap((name) => ['-u', name])];
    return user.exec(command, ...args, 'sh', '-ec', UNKNOWN, 'sh', ...as, ...env, 'sh', '-ec', script);
  };
  const creators = async (): Promise<readonly unknown[]> => {
    const { stdout } = await user.run('ls', '--json', bucket.bucket);
    const listed: readonly { readonly creator: unknown }[] = JSON.parse(stdout);
    return listed.map(({ creator }) => creator);
  };

  test.each([
    ['unset', '-u', 'HOME'],
    ['empty', 'HOME='],
    ['missing', 'HOME=/nonexistent'],
  ])('root mounts, reads and freezes though HOME is %s', async (name, ...home) => {
    const folder = `${path}/mnt/staging/home-is-${name}`;
    const { exitCode, stdout, stderr } = await run(
      ['env', ...home],
      `mkdir ${path}/mnt ${path}/cwd; cd ${path}/cwd
      ${cli()} mount ${bucket.bucket} ${path}/mnt
      cat ${path}/mnt/leaves/data/a.txt; echo
      mkdir ${folder} && echo x > ${folder}/f
      ${cli()} freeze ${folder}
      ${cli()} umount ${path}/mnt
      find ${path}/cwd -mindepth 1; ls /var/tmp`,
    );
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toContain('what has to be kept is in /var/tmp/dtool-ecs-mount-0, staged files above all');
    expect(stdout).toMatch(/ is mounted .*^green$.*frozen as ecs:\/\/\S+\.\ndtool-ecs-mount-0\n$/ms);
    expect(await creators()).toContain('0');
  });

  test('a user freezes; mounting is what fusermount3 refuses, which is said', async () => {
    await chmod(path, 0o777);
    const { exitCode, stdout, stderr } = await run(
      [
        'setpriv',
        `--reuid=${STRANGER}`,
        `--regid=${STRANGER}`,
        '--clear-groups',
        'env',
        '-u',
        'XDG_RUNTIME_DIR',
        'HOME=',
      ],
      `mkdir ${path}/by-a-stranger ${path}/mnt; echo x > ${path}/by-a-stranger/f
      ${cli()} freeze --bucket ${bucket.bucket} ${path}/by-a-stranger
      ${cli()} mount ${bucket.bucket} ${path}/mnt || rmdir /tmp/dtool-ecs-mount-${STRANGER}`,
    );
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain('frozen as ecs://');
    expect(await creators()).toContain(String(STRANGER));
    if (stderr.includes('determine username')) expect(stderr).toContain('Add one to /etc/passwd');
  });
});
