import { constants } from 'node:fs';
import { open, readdir, readFile, readlink, stat, statfs, writeFile } from 'node:fs/promises';
import * as fs from 'node:fs/promises';
import { release } from 'node:os';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FixtureDaemon } from '../../../support/fixture-daemon.ts';
import {
  BIG_BYTES,
  bigBytes,
  createFixture,
  HELLO,
  WIDE_ENTRIES,
  wideName,
} from '../../../support/fixture-tree.ts';
import { mountObstacle, run, TestMounts } from '../../../support/test-mounts.ts';

const obstacle = mountObstacle();
const mounts = new TestMounts();
const hasPython = await run('python3', ['--version']).then(
  () => true,
  () => false,
);

/** FUSE_NO_EXPORT_SUPPORT is of Linux 6.9. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const handleObstacle = !hasPython
  ? ' [skipped: no python3]'
  : major < 6 || (major === 6 && minor < 9)
    ? ' [skipped: Linux before 6.9 always gives handles]'
    : '';

async function readFrozen(mountpoint: string): Promise<void> {
  await readFile(`${mountpoint}/a/b/c/deep.txt`, 'utf8');
  await stat(`${mountpoint}/a/missing`).catch(() => {});
  await readdir(`${mountpoint}/a/b`);
}

afterAll(() => mounts.removeProgram());

describe.skipIf(obstacle !== '').each(['pipe', 'worker'] as const)(
  `a real mount by %s${obstacle}`,
  (receive) => {
    let daemon: FixtureDaemon;
    let mountpoint: string;

    beforeEach(async () => {
      ({ daemon, mountpoint } = await mounts.mount({ receive, refreshSeconds: 3600 }));
    });
    afterEach(() => mounts.clear());

    const at = (path: string) => `${mountpoint}/${path}`;

    test('receives as it was told', () => {
      expect(daemon.receive).toBe(receive);
    });

    test('files, directories, links and attributes', async () => {
      expect(await readFile(at('hello.txt'), 'utf8')).toBe(HELLO);
      expect(await readFile(at('a/b/c/deep.txt'), 'utf8')).toBe('deep');
      expect(await readFile(at('grüße 🙂.txt'), 'utf8')).toBe('unicode');
      expect(await readFile(at('empty'), 'utf8')).toBe('');
      expect(await readlink(at('link'))).toBe('hello.txt');
      expect(await readFile(at('link'), 'utf8')).toBe(HELLO);
      const hello = await stat(at('hello.txt'), { bigint: true });
      expect(hello.mtimeNs).toBe(1_600_000_000_123_456_789n);
      expect(hello.mode).toBe(0o100444n);
      expect((await stat(at('old.txt'), { bigint: true })).mtimeNs).toBe(-86_399_500_000_000n);
      expect((await stat(at('big'))).size).toBe(BIG_BYTES);
      const space = await statfs(mountpoint);
      expect([space.blocks * space.bsize >= BIG_BYTES, space.bfree, space.files]).toEqual([
        true,
        0,
        WIDE_ENTRIES,
      ]);
      await expect(readFile(at('nothing'))).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(readFile(at('a/nothing'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    test('reads are the truth at any offset', async () => {
      const file = await open(at('big'));
      try {
        const place = fc.record({
          offset: fc.nat(BIG_BYTES + 10),
          length: fc.integer({ min: 1, max: 3_000_000 }),
        });
        await fc.assert(
          fc.asyncProperty(place, async ({ offset, length }) => {
            const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
            const expected = bigBytes(offset, Math.max(0, Math.min(length, BIG_BYTES - offset)));
            expect(buffer.subarray(0, bytesRead).equals(expected)).toBe(true);
          }),
          {
            numRuns: 60,
            examples: [
              [{ offset: 2 ** 32 - 1, length: 2 }],
              [{ offset: 2 ** 32 - 1_000_000, length: 3_000_000 }],
              [{ offset: BIG_BYTES - 1, length: 100 }],
            ],
          },
        );
      } finally {
        await file.close();
      }
    });

    test('a long read comes in requests of up to 1 MiB, where the page cache does not cut it', async () => {
      const before = await daemon.state();
      const file = await open(at('big'), constants.O_RDONLY | constants.O_DIRECT);
      const length = 64 * 1024 * 1024;
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, 2 ** 32);
      await file.close();
      expect(buffer.equals(bigBytes(2 ** 32, length))).toBe(true);
      const after = await daemon.state();
      expect(after.reads - before.reads).toBeLessThan(2 * 64);
    });

    test('listings have types and all names', async () => {
      const entries = await readdir(mountpoint, { withFileTypes: true });
      const types = new Map(
        entries.map((one) => [one.name, one.isDirectory() ? 'd' : one.isSymbolicLink() ? 'l' : 'f']),
      );
      expect([types.get('a'), types.get('hello.txt'), types.get('link')]).toEqual(['d', 'f', 'l']);
      const wide = await readdir(at('wide'));
      expect(wide.length).toBe(WIDE_ENTRIES);
      expect(wide.toSorted()).toEqual(Array.from({ length: WIDE_ENTRIES }, (_, index) => wideName(index)));
      const { stdout } = await run('find', [at('wide'), '-type', 'f', '-name', '*99.bin'], {
        maxBuffer: 2 ** 26,
      });
      expect(stdout.trim().split('\n').length).toBe(WIDE_ENTRIES / 100);
    });

    test('inode numbers are the same at the next mount', async () => {
      const list = async () => (await run('ls', ['-iR', at('a'), at('changing'), at('hello.txt')])).stdout;
      const first = await list();
      expect(first).toMatch(/\d+ deep\.txt/);
      await daemon.ask({ ask: 'cycle', times: 1 });
      expect(await list()).toBe(first);
      const { tree } = createFixture({ uid: 0, gid: 0 });
      const hello = await tree.root.lookup('hello.txt', AbortSignal.timeout(1000));
      expect((await stat(at('hello.txt'))).ino).toBe(hello.attributes().ino);
    });

    test('nothing can be changed', async () => {
      const changes: Readonly<Record<string, () => Promise<unknown>>> = {
        create: () => writeFile(at('new'), ''),
        write: () => writeFile(at('hello.txt'), ''),
        truncate: () => fs.truncate(at('hello.txt'), 0),
        mkdir: () => fs.mkdir(at('new')),
        unlink: () => fs.unlink(at('hello.txt')),
        rmdir: () => fs.rmdir(at('a/b/c')),
        rename: () => fs.rename(at('hello.txt'), at('other')),
        link: () => fs.link(at('hello.txt'), at('other')),
        symlink: () => fs.symlink('x', at('other')),
        chmod: () => fs.chmod(at('hello.txt'), 0o600),
        chown: () => fs.chown(at('hello.txt'), 1, 1),
        utimes: () => fs.utimes(at('hello.txt'), 1, 1),
      };
      for (const [change, outcome] of Object.entries(changes)) {
        await expect(outcome(), change).rejects.toMatchObject({ code: 'EROFS' });
      }
    });

    test.skipIf(!hasPython)('nor can extended attributes', async () => {
      const script = 'import os, sys; os.setxattr(sys.argv[1], "user.x", b"y")';
      await expect(run('python3', ['-c', script, at('a')])).rejects.toThrow('Read-only file system');
    });

    test.skipIf(!hasPython)('mmap and extended attributes', async () => {
      const script = `
import mmap, os, sys, json
f = open(sys.argv[1] + '/big', 'rb')
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print(m[${2 ** 32 + 5}:${2 ** 32 + 5 + 64}].hex())
print(m[${BIG_BYTES - 16}:].hex())
h = sys.argv[1] + '/hello.txt'
print(os.listxattr(h), os.getxattr(h, 'user.dtool.hash'), os.getxattr(h, 'user.empty'), os.listxattr(sys.argv[1] + '/a'))
`;
      const { stdout } = await run('python3', ['-c', script, mountpoint]);
      expect(stdout.split('\n')).toEqual([
        bigBytes(2 ** 32 + 5, 64).toString('hex'),
        bigBytes(BIG_BYTES - 16, 16).toString('hex'),
        "['user.dtool.hash', 'user.empty'] b'5eb63bbb' b'' []",
        '',
      ]);
    });

    test.skipIf(handleObstacle !== '')(
      `file handles are refused from the start${handleObstacle}`,
      async () => {
        const script = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for flags in (0, 0x200):  # AT_HANDLE_FID: for fanotify, never opened. Python calls EOPNOTSUPP by its other name.
    handle, mount = ctypes.create_string_buffer(b'\\x80\\0\\0\\0', 136), ctypes.c_int()
    failed = libc.name_to_handle_at(-100, sys.argv[1].encode(), handle, ctypes.byref(mount), flags)
    print(errno.errorcode[ctypes.get_errno()] if failed else 'handle')
`;
        const { stdout } = await run('python3', ['-c', script, at('hello.txt')]);
        expect(stdout.split('\n')).toEqual(['ENOTSUP', 'handle', '']);
      },
    );

    test('what is frozen is asked for once, data included', async () => {
      await readFrozen(mountpoint);
      const before = await daemon.state();
      await readFrozen(mountpoint);
      const after = await daemon.state();
      expect([after.lookups, after.reads]).toEqual([before.lookups, before.reads]);
    });

    test('what changes is believed until a notification, and then asked for again', async () => {
      expect(await readFile(at('changing/file'), 'utf8')).toBe('first');
      await expect(stat(at('changing/late'))).rejects.toMatchObject({ code: 'ENOENT' });
      await daemon.ask({ ask: 'change', content: 'second, longer', late: true });
      expect((await stat(at('changing/file'))).size).toBe('second, longer'.length);
      expect(await readFile(at('changing/file'), 'utf8')).toBe('second, longer');
      expect(await readFile(at('changing/late'), 'utf8')).toBe('late');
      await daemon.ask({ ask: 'change', content: 'second, longer', late: false });
      await expect(stat(at('changing/late'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    test('what the kernel forgets is let go', async () => {
      await run('ls', ['-l', at('wide')], { maxBuffer: 2 ** 26 });
      expect((await daemon.state()).nodes).toBeGreaterThan(WIDE_ENTRIES);
      await writeFile('/proc/sys/vm/drop_caches', '2');
      await daemon.until(({ nodes }) => nodes < 100);
      expect(await readFile(at('wide/file-000042.bin'), 'utf8')).toBe('');
      // The kernel releases a file some time after it was closed.
      await daemon.until(({ openHandles }) => openHandles === 0);
    });
  },
);
