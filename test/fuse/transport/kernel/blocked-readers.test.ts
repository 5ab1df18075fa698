import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FixtureDaemon } from '../../../support/fixture-daemon.ts';
import { HELLO } from '../../../support/fixture-tree.ts';
import { isMounted, mountObstacle, run, TestMounts } from '../../../support/test-mounts.ts';

const obstacle = mountObstacle();
const mounts = new TestMounts();
/** Far above what it takes, which is printed, on a busy machine as well; far below what callers wait that are not seen. */
const FREED_WITHIN_MS = 5_000;
const STUCK_AFTER_MS = 20_000;

/** A process that is going to wait for the file system. */
class Reader {
  readonly exited: Promise<{ code: number | null; signal: string | null; stderr: string }>;
  readonly #child;

  constructor(command: string, ...args: string[]) {
    this.#child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    let stderr = '';
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    this.exited = once(this.#child, 'close').then(([code, signal]: (number | string | null)[]) => ({
      code: typeof code === 'number' ? code : null,
      signal: typeof signal === 'string' ? signal : null,
      stderr,
    }));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

afterAll(() => mounts.removeProgram());

describe.skipIf(obstacle !== '').each(['pipe', 'worker'] as const)(
  `blocked readers by %s${obstacle}`,
  (receive) => {
    let daemon: FixtureDaemon;
    let mountpoint: string;

    beforeEach(async () => {
      ({ daemon, mountpoint } = await mounts.mount({ receive }));
    });
    afterEach(() => mounts.clear());

    test.each([
      ['read', 'SIGINT'],
      ['read', 'SIGKILL'],
      ['lookup', 'SIGINT'],
      ['lookup', 'SIGKILL'],
    ] as const)(
      'a %s that never answers is freed by %s at once, and others go on beside it',
      async (what, signal) => {
        const reader =
          what === 'read'
            ? new Reader('cat', `${mountpoint}/stuck`)
            : new Reader('stat', `${mountpoint}/stuck-dir/x`);
        await daemon.until(({ stuck }) => stuck === 1);
        expect(await readFile(`${mountpoint}/hello.txt`, 'utf8')).toBe(HELLO);
        expect((await stat(`${mountpoint}/a/b/c/deep.txt`)).size).toBe(4);
        const start = performance.now();
        reader.kill(signal);
        expect((await reader.exited).signal).toBe(signal);
        const took = performance.now() - start;
        process.stdout.write(`a ${what} was freed by ${signal} after ${took.toFixed(1)} ms (${receive})\n`);
        expect(took).toBeLessThan(FREED_WITHIN_MS);
        if (what === 'lookup')
          expect(await daemon.until(({ waiting }) => waiting === 0)).toMatchObject({ aborted: 1 });
        expect(await readFile(`${mountpoint}/hello.txt`, 'utf8')).toBe(HELLO);
      },
    );

    test('a direct read, which the kernel does not share, is cancelled with its reader', async () => {
      const reader = new Reader('dd', `if=${mountpoint}/obedient`, 'of=/dev/null', 'iflag=direct');
      await daemon.until(({ stuck }) => stuck === 1);
      reader.kill('SIGKILL');
      await reader.exited;
      expect(await daemon.until(({ waiting }) => waiting === 0)).toMatchObject({ aborted: 1 });
      await daemon.until(({ openHandles }) => openHandles === 0);
    });

    test.each([
      ['SIGKILL', { signal: 'SIGKILL' }],
      ['SIGUSR1', { signal: 'SIGUSR1' }],
      ['SIGINT', { code: 5 }],
      ['SIGTERM', { code: 5 }],
      ['SIGHUP', { code: 5 }],
      ['SIGQUIT', { code: 5 }],
    ] as const)(
      'a lookup goes on after signals that ask nobody to leave, and %s still frees it soon',
      async (signal, expected) => {
        const script = "trap : ALRM CHLD; trap 'exit 5' INT TERM HUP QUIT; test -e $0; exit 1";
        const reader = new Reader('bash', '-c', script, `${mountpoint}/stuck-dir/x`);
        await daemon.until(({ stuck }) => stuck === 1);
        reader.kill('SIGALRM');
        await daemon.until(({ watched }) => watched === 1);
        reader.kill('SIGCHLD');
        expect(await daemon.state()).toMatchObject({ waiting: 1, watched: 1, aborted: 0 });
        const start = performance.now();
        reader.kill(signal);
        expect(await reader.exited).toMatchObject(expected);
        const took = performance.now() - start;
        process.stdout.write(
          `a lookup that goes on was freed by ${signal} after ${took.toFixed(1)} ms (${receive})\n`,
        );
        expect(took).toBeLessThan(FREED_WITHIN_MS);
        expect(await daemon.until(({ waiting }) => waiting === 0)).toMatchObject({ aborted: 1, watched: 0 });
      },
    );

    test('a process that is stopped and continued while it waits gets its answer', async () => {
      const { lookups } = await daemon.state();
      const reader = new Reader('stat', `${mountpoint}/slow/late`);
      // `slow` and `late`.
      await daemon.until((state) => state.lookups === lookups + 2);
      reader.kill('SIGSTOP');
      // On a machine that is busy it has its answer by now.
      await daemon.until(({ watched, waiting }) => watched === 1 || waiting === 0);
      reader.kill('SIGCONT');
      expect(await reader.exited).toMatchObject({ code: 0, stderr: '' });
    });

    test('a notification that has to wait for a reader holds nobody else up', async () => {
      const reader = new Reader('stat', `${mountpoint}/stuck-dir/x`);
      await daemon.until(({ stuck }) => stuck === 1);
      await daemon.ask({ ask: 'invalidate-stuck' });
      expect(await readFile(`${mountpoint}/hello.txt`, 'utf8')).toBe(HELLO);
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      expect((await reader.exited).code).toBe(1);
    });

    test('kill -9 while a notification would have to wait for a reader: the reader has an error, nothing is stuck', async () => {
      const reader = new Reader('stat', `${mountpoint}/stuck-dir/x`);
      await daemon.until(({ stuck }) => stuck === 1);
      await daemon.ask({ ask: 'invalidate-stuck' });
      // What it has begun to write to the device, it has by now.
      await daemon.state();
      daemon.kill('SIGKILL');
      // The kernel would wait for an answer for ever, and the process that was to give it for the kernel.
      const freed = await Promise.race([reader.exited, sleep(STUCK_AFTER_MS)]);
      if (freed === undefined)
        await run('umount', ['--force', mountpoint]).catch(() => {
          // It is busy, and yet nobody waits any more.
        });
      expect(freed).toMatchObject({ code: 1 });
    });

    test('callers of another pid namespace do not fail by a signal either', async () => {
      const wrapper = ['unshare', '--pid', '--fork', '--kill-child', '--'];
      const apart = await mounts.mount({ receive }, { wrapper });
      const { stdout } = await run('bash', [
        '-c',
        'sleep 0.1 & test -e "$0" && wait && echo there',
        `${apart.mountpoint}/slow/late`,
      ]);
      expect(stdout).toBe('there\n');
    });

    test('SIGTERM ends everything: readers, lookups, mount and program', async () => {
      const readers = [1, 2, 3].flatMap((number) => [
        new Reader('cat', `${mountpoint}/stuck`),
        new Reader('stat', `${mountpoint}/stuck-dir/x${number}`),
      ]);
      // The kernel reads a page once, however many wait for it.
      await daemon.until(({ stuck }) => stuck >= 4);
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      for (const reader of readers) expect((await reader.exited).code).toBe(1);
      expect(await isMounted(mountpoint)).toBe(false);
    });

    test('unmount -l takes the mount away, and it ends with its last user', async () => {
      const reader = new Reader('stat', `${mountpoint}/stuck-dir/x`);
      await daemon.until(({ stuck }) => stuck === 1);
      await run('umount', ['-l', mountpoint]);
      expect(await isMounted(mountpoint)).toBe(false);
      expect((await daemon.state()).waiting).toBe(1);
      reader.kill('SIGKILL');
      await reader.exited;
      expect(await daemon.exited).toEqual({ code: 0, closed: true });
    });

    test('after unmount -l, SIGTERM ends it although somebody waits', async () => {
      const reader = new Reader('stat', `${mountpoint}/stuck-dir/x`);
      await daemon.until(({ stuck }) => stuck === 1);
      await run('umount', ['-l', mountpoint]);
      expect(await daemon.stop()).toEqual({ code: 0, closed: true });
      expect((await reader.exited).code).toBe(1);
    });

    test('kill -9 of the daemon leaves 50 readers with an error, and the next mount works', async () => {
      const readers = Array.from({ length: 50 }, (_, index) =>
        index % 2 === 0
          ? new Reader('cat', `${mountpoint}/stuck`)
          : new Reader('stat', `${mountpoint}/stuck-dir/x${index}`),
      );
      await daemon.until(({ stuck }) => stuck >= 26);
      daemon.kill('SIGKILL');
      for (const reader of readers) {
        const { code, stderr } = await reader.exited;
        expect(code).toBe(1);
        expect(stderr).toMatch(/not connected|connection abort|No such device|Input\/output error/);
      }
      await expect(mounts.mount({ receive, mountpoint })).rejects.toMatchObject({
        user: true,
        advice: expect.stringContaining('umount -l'),
      });
      await run('umount', [mountpoint]);
      await mounts.mount({ receive, mountpoint });
      expect(await readFile(`${mountpoint}/hello.txt`, 'utf8')).toBe(HELLO);
    });
  },
);
