import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { open, readdir, readFile, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { KERNEL_READ_AHEAD_BYTES, KiB } from '../../../../src/limits.ts';
import { HELLO } from '../../../support/fixture-tree.ts';
import { scaled } from '../../../support/full.ts';
import { isMounted, mountObstacle, run, TestMounts } from '../../../support/test-mounts.ts';

const obstacle = mountObstacle();
const mounts = new TestMounts();
const cycles = scaled({ usual: 20, full: 1_000 });

afterAll(() => mounts.removeProgram());

describe.skipIf(obstacle !== '')(`mounting${obstacle}`, () => {
  afterEach(() => mounts.clear());

  test.each(['pipe', 'worker'] as const)(
    'by %s ends by umount, by SIGTERM and when it is in use',
    async (receive) => {
      const first = await mounts.mount({ receive });
      await readFile(`${first.mountpoint}/hello.txt`);
      await run('umount', [first.mountpoint]);
      expect(await first.daemon.exited).toEqual({ code: 0, closed: true });

      const second = await mounts.mount({ receive, mountpoint: first.mountpoint });
      expect(await second.daemon.stop()).toEqual({ code: 0, closed: true });
      expect(await isMounted(first.mountpoint)).toBe(false);

      const third = await mounts.mount({ receive, mountpoint: first.mountpoint });
      const file = await open(`${first.mountpoint}/big`);
      try {
        expect(await third.daemon.stop()).toEqual({ code: 0, closed: true });
        expect(await isMounted(first.mountpoint)).toBe(false);
        await expect(file.read(Buffer.alloc(10), 0, 10, 2 ** 32)).rejects.toMatchObject({
          code: expect.stringMatching(/ENOTCONN|ECONNABORTED|EIO/),
        });
      } finally {
        await file.close();
      }
    },
  );

  test.each(['pipe', 'worker'] as const)(
    'by %s it ends although another namespace has a copy',
    async (receive) => {
      const { daemon, mountpoint } = await mounts.mount({ receive });
      await readFile(`${mountpoint}/hello.txt`);
      // Tells when it has its copy of all mounts, and keeps it until its input ends.
      const other = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo; cat'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const gone = once(other, 'exit');
      await once(other.stdout, 'data');
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      expect(await isMounted(mountpoint)).toBe(false);
      other.stdin.end();
      await gone;
    },
  );

  test('auto receives by pipe', async () => {
    const { daemon } = await mounts.mount({ receive: 'auto' });
    expect(daemon.receive).toBe('pipe');
  });

  test.each(['pipe', 'worker'] as const)(
    `${cycles} mounts and unmounts by %s leave no descriptor, thread or mount`,
    async (receive) => {
      const { daemon, mountpoint } = await mounts.mount({ receive });
      await daemon.ask({ ask: 'cycle', times: 5 });
      const before = await daemon.state();
      await daemon.ask({ ask: 'cycle', times: cycles });
      const after = await daemon.state();
      expect([after.descriptors, after.threads]).toEqual([before.descriptors, before.threads]);
      expect(await readFile(`${mountpoint}/hello.txt`, 'utf8')).toBe(HELLO);
      const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
      expect(mountinfo.split(mountpoint).length - 1).toBe(1);
    },
    600_000,
  );

  test('a mount is what its options say, whatever the source is called', async () => {
    const source = 'a,b\\c,suid,dev LABEL=x\n--';
    const { mountpoint } = await mounts.mount({ source, readOnly: true, allowOther: true });
    const { stdout } = await run('findmnt', ['-n', '-P', '-o', 'SOURCE,FSTYPE,OPTIONS', mountpoint]);
    expect(stdout).toMatch(/^SOURCE="a,b.{1,4}c,suid,dev LABEL_x_--" FSTYPE="fuse.dtool-ecs"/);
    const options = /OPTIONS="([^"]*)"/.exec(stdout)?.[1]?.split(',');
    expect(options).toEqual(
      expect.arrayContaining(['ro', 'nosuid', 'nodev', 'allow_other', 'default_permissions']),
    );
    await expect(writeFile(`${mountpoint}/x`, '')).rejects.toMatchObject({ code: 'EROFS' });
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'cat', `${mountpoint}/hello.txt`];
    expect((await run('setpriv', nobody)).stdout).toBe(HELLO);
  });

  test('without allow_other nobody else gets in', async () => {
    const { mountpoint } = await mounts.mount();
    const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', 'cat', `${mountpoint}/hello.txt`];
    await expect(run('setpriv', nobody)).rejects.toThrow('Permission denied');
  });

  test('the mount point may be reached through a link', async () => {
    const directory = await mounts.directory();
    const link = `${directory}-link`;
    await symlink(directory, link);
    try {
      const { daemon } = await mounts.mount({ mountpoint: link });
      expect(await readFile(`${directory}/hello.txt`, 'utf8')).toBe(HELLO);
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      expect(await isMounted(directory)).toBe(false);
    } finally {
      await unlink(link);
    }
  });

  test("the kernel reads as far ahead in root's mounts as it is told", async () => {
    const { mountpoint } = await mounts.mount();
    const { dev } = await stat(mountpoint);
    const said = await readFile(`/sys/class/bdi/0:${dev & 0xff}/read_ahead_kb`, 'utf8');
    expect(Number(said) * KiB).toBe(KERNEL_READ_AHEAD_BYTES);
  });

  test('what is in the way is said in words', async () => {
    const directory = await mounts.directory();
    const file = `${directory}/file`;
    await writeFile(file, '');
    try {
      await expect(mounts.mount({ mountpoint: directory })).rejects.toMatchObject({
        user: true,
        message: expect.stringContaining('is not empty'),
        advice: expect.stringContaining('--allow-non-empty'),
      });
      await expect(mounts.mount({ mountpoint: file })).rejects.toMatchObject({
        user: true,
        message: expect.stringContaining('is not a directory'),
      });
      await expect(mounts.mount({ mountpoint: `${directory}/nothing` })).rejects.toMatchObject({
        user: true,
        message: expect.stringContaining('no such file or directory'),
      });
      await expect(mounts.mount({ mountpoint: '/dev/fd/2' })).rejects.toMatchObject({
        user: true,
        message: expect.stringContaining('is not an open /dev/fuse'),
      });
    } finally {
      await unlink(file);
    }
    expect(await readdir(directory)).toEqual([]);
  });

  test('a device that is open and mounted already is served as /dev/fd/N', async () => {
    const directory = await mounts.directory();
    const fd = openSync('/dev/fuse', constants.O_RDWR);
    try {
      const list = 'fd=3,rootmode=40000,user_id=0,group_id=0';
      const mount = spawn('mount', ['-i', '-t', 'fuse', '-o', list, 'other', directory], {
        stdio: ['ignore', 'inherit', 'inherit', fd],
      });
      expect(await once(mount, 'exit')).toEqual([0, null]);
      const { daemon } = await mounts.mount({ mountpoint: '/dev/fd/4' }, { fd });
      // Only the daemon is to hold the device from now on.
      closeSync(fd);
      expect(await readFile(`${directory}/hello.txt`, 'utf8')).toBe(HELLO);
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOTCONN' });
    } finally {
      if (await isMounted(directory)) await run('umount', ['-l', directory]);
    }
  });
});
