import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, readFile, stat } from 'node:fs/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { HELLO } from '../../../support/fixture-tree.ts';
import { mountObstacle, run, TestMounts } from '../../../support/test-mounts.ts';

const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'];
/**
 * Distributions let all users open /dev/fuse, and this machine may not: the test brings its own device of mode 666, in a
 * mount namespace that nobody else sees. The mount is in there too, so it is looked at from there. `$1` is the mode,
 * `$2` a file to have as /etc/fuse.conf.
 */
const NAMESPACE = `
  dir=$(mktemp -d) && mount -t tmpfs -o mode=755 none "$dir" && mknod -m "$1" "$dir/fuse" c 10 229 &&
  mount --bind "$dir/fuse" /dev/fuse && echo "$2" > "$dir/fuse.conf" && chmod 644 "$dir/fuse.conf" &&
  mount --bind "$dir/fuse.conf" /etc/fuse.conf && umount -l "$dir" && rmdir "$dir" && shift 2 && exec "$@"`;

const hasCommands = await run('sh', ['-c', 'command -v fusermount3 unshare nsenter setpriv']).then(
  () => true,
  () => false,
);
const obstacle =
  mountObstacle() || (hasCommands ? '' : ' [skipped: no fusermount3, unshare, nsenter or setpriv]');
const mounts = new TestMounts();

const wrapper = (deviceMode = '666', config = '# nothing', ...more: string[]): string[] => {
  const namespace = ['unshare', '--mount', '--propagation', 'private', '--'];
  return [...namespace, 'sh', '-ec', NAMESPACE, 'sh', deviceMode, config, ...more, ...AS_NOBODY];
};

async function directoryOfNobody(): Promise<string> {
  const directory = await mounts.directory();
  await chown(directory, NOBODY, NOBODY);
  return directory;
}

afterAll(() => mounts.removeProgram());

describe.skipIf(obstacle !== '')(`a user's mount${obstacle}`, () => {
  afterEach(() => mounts.clear());

  test.each(['pipe', 'worker'] as const)('mounts, reads and unmounts by %s', async (receive) => {
    const mountpoint = await directoryOfNobody();
    const source = 'a,b\\c,suid';
    const { daemon } = await mounts.mount({ receive, mountpoint, source }, { wrapper: wrapper() });
    const inside = ['-t', String(daemon.pid), '-m', ...AS_NOBODY];
    expect((await run('nsenter', [...inside, 'cat', `${mountpoint}/hello.txt`])).stdout).toBe(HELLO);
    const { stdout } = await run('nsenter', [...inside, 'ls', '-ln', `${mountpoint}/a/b/c`]);
    expect(stdout).toMatch(/-r--r--r-- +1 65534 65534 +4 .*deep\.txt/);
    const mountinfo = (await run('nsenter', [...inside, 'grep', 'dtool-ecs', '/proc/self/mountinfo'])).stdout;
    expect(mountinfo).toContain(' - fuse.dtool-ecs a,b\\134c,suid ');
    expect(mountinfo).toMatch(/nosuid,nodev/);
    // Not even root is let in without allow_other.
    await expect(run('nsenter', ['-t', String(daemon.pid), '-m', 'ls', mountpoint])).rejects.toThrow();
    await daemon.ask({ ask: 'cycle', times: 3 });
    expect((await run('nsenter', [...inside, 'cat', `${mountpoint}/hello.txt`])).stdout).toBe(HELLO);
    const before = await daemon.state();
    await daemon.ask({ ask: 'cycle', times: 10 });
    expect(await daemon.state()).toMatchObject({ descriptors: before.descriptors, threads: before.threads });
    expect(await daemon.stop()).toEqual({ code: 0, closed: true });
  });

  test('ends although somebody uses it', async () => {
    const mountpoint = await directoryOfNobody();
    const { daemon } = await mounts.mount({ mountpoint, receive: 'worker' }, { wrapper: wrapper() });
    const inside = ['-t', String(daemon.pid), '-m', ...AS_NOBODY];
    const reader = run('nsenter', [...inside, 'stat', `${mountpoint}/stuck-dir/x`]).catch(
      (error: Error) => error,
    );
    await daemon.until(({ stuck }) => stuck === 1);
    expect(await daemon.stop()).toEqual({ code: 0, closed: true });
    expect(await reader).toBeInstanceOf(Error);
  });

  test('allow_other where the system allows it', async () => {
    const mountpoint = await directoryOfNobody();
    const { daemon } = await mounts.mount(
      { mountpoint, allowOther: true },
      { wrapper: wrapper('666', 'user_allow_other') },
    );
    const seen = await run('nsenter', ['-t', String(daemon.pid), '-m', 'cat', `${mountpoint}/hello.txt`]);
    expect(seen.stdout).toBe(HELLO);
    expect(await daemon.stop()).toEqual({ code: 0, closed: true });
  });

  test('with --auto-unmount is gone when its process was killed', async () => {
    const mountpoint = await directoryOfNobody();
    const { daemon } = await mounts.mount({ mountpoint, autoUnmount: true }, { wrapper: wrapper() });
    // In the same namespace, and there when the process is not.
    const watcher = spawn('nsenter', ['-t', String(daemon.pid), '-m', 'cat'], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    const table = async (): Promise<string> => readFile(`/proc/${watcher.pid}/mountinfo`, 'utf8');
    await expect.poll(table, { timeout: 20_000 }).toContain(mountpoint);
    daemon.kill('SIGKILL');
    await expect.poll(table, { timeout: 20_000 }).not.toContain(mountpoint);
    watcher.stdin.end();
    await once(watcher, 'exit');
  });

  test.each([
    ['no user_allow_other', wrapper(), { allowOther: true }, 'user_allow_other', '/etc/fuse.conf'],
    ['no access to the device', wrapper('600'), {}, '/dev/fuse: Permission denied', 'chmod 0666 /dev/fuse'],
    [
      'no fusermount3',
      wrapper('666', '', 'env', 'PATH=/nowhere'),
      {},
      "can't run fusermount3",
      'package fuse3',
    ],
  ] as const)('%s is said with the remedy', async (_what, command, options, message, advice) => {
    const mountpoint = await directoryOfNobody();
    // env(1) and setpriv(1) have to be found without PATH.
    const found = command.map((word) => (word === 'setpriv' ? '/usr/bin/setpriv' : word));
    await expect(mounts.mount({ mountpoint, ...options }, { wrapper: found })).rejects.toMatchObject({
      user: true,
      message: expect.stringContaining(message),
      advice: expect.stringContaining(advice),
    });
  });

  test("a directory of somebody else's is refused", async () => {
    const mountpoint = await mounts.directory();
    await expect(mounts.mount({ mountpoint }, { wrapper: wrapper() })).rejects.toMatchObject({ user: true });
    expect((await stat(mountpoint)).uid).toBe(0);
  });
});
