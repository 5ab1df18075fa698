import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, readFile, stat } from 'node:fs/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { HELLO } from '../../../support/fixture-tree.ts';
import { AS_NOBODY, asNobody, NOBODY, obstacleForNobody as obstacle } from '../../../support/nobody.ts';
import { run, TestMounts } from '../../../support/test-mounts.ts';

const mounts = new TestMounts();

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
    const { daemon } = await mounts.mount({ receive, mountpoint, source }, { wrapper: asNobody() });
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
    const { daemon } = await mounts.mount({ mountpoint, receive: 'worker' }, { wrapper: asNobody() });
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
      { wrapper: asNobody('666', 'user_allow_other') },
    );
    const seen = await run('nsenter', ['-t', String(daemon.pid), '-m', 'cat', `${mountpoint}/hello.txt`]);
    expect(seen.stdout).toBe(HELLO);
    expect(await daemon.stop()).toEqual({ code: 0, closed: true });
  });

  test('with --auto-unmount is gone when its process was killed', async () => {
    const mountpoint = await directoryOfNobody();
    const { daemon } = await mounts.mount({ mountpoint, autoUnmount: true }, { wrapper: asNobody() });
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
    ['no user_allow_other', asNobody(), { allowOther: true }, 'user_allow_other', '/etc/fuse.conf'],
    ['no access to the device', asNobody('600'), {}, '/dev/fuse: Permission denied', 'chmod 0666 /dev/fuse'],
    [
      'no fusermount3',
      asNobody('666', '', 'env', 'PATH=/nowhere'),
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
    await expect(mounts.mount({ mountpoint }, { wrapper: asNobody() })).rejects.toMatchObject({ user: true });
    expect((await stat(mountpoint)).uid).toBe(0);
  });
});
