import { constants, type Dirent } from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ReceiveMode } from '../../src/fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../../src/fuse/transport/transport.ts';
import { hasProgram } from '../support/mounted.ts';
import type { CompiledProgram } from '../support/run-typescript.ts';
import { mountObstacle, run } from '../support/test-mounts.ts';
import { compileTransportProgram, TransportMount } from '../support/transport-mount.ts';
import type { Deviation } from './transport-deviations.ts';
import { describeLikeness } from './transport-property.ts';

export interface TransportContract {
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /** What changes are made to. */
  readonly tree: 'memory' | 'staging';
  readonly slowDisk?: boolean;
  /** What the transport is known not to do right. */
  readonly deviations: ReadonlySet<Deviation>;
}

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;

const obstacle = mountObstacle();
const present = new Map<string, boolean>();
for (const program of ['python3', 'rsync', 'git', 'setpriv', 'fallocate'])
  present.set(program, await hasProgram(program));
const has = (program: string): boolean => present.get(program) === true;

/** Runs a Python script that prints what it found out, or the name of the errno it was stopped by. */
async function python(script: string, ...args: readonly string[]): Promise<string> {
  const whole = `
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result != 0: raise OSError(ctypes.get_errno(), '')
try:
${script.replaceAll(/^/gm, '    ')}
except OSError as error:
    print(errno.errorcode[error.errno])
`;
  return (await run('python3', ['-c', whole, ...args])).stdout.trim();
}

const renameWithFlags = (from: string, to: string, flags: number): Promise<string> =>
  python(
    'check(libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3])))\nprint("done")',
    from,
    to,
    String(flags),
  );

const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => String((error as { code?: unknown }).code),
  );

const sh = async (command: string, cwd: string): Promise<string> =>
  (await run('bash', ['-ec', command], { cwd, maxBuffer: 2 ** 26 })).stdout;

/** What is below a directory, a line each: path, kind, mode, target, size of files, and time if it is to be compared. */
const inventory = (directory: string, times: boolean): Promise<string> =>
  sh(
    `find . -mindepth 1 -printf '%P %y %m %l ${times ? '%T@' : ''}\\n' | sort; find . -type f -exec md5sum {} + | sort -k 2`,
    directory,
  );

/** What a transport has to do on a real mount: of a tree that everything can be done to, and of one nothing can. */
export function describeTransport(name: string, contract: TransportContract): void {
  const deviates = (deviation: Deviation): boolean => contract.deviations.has(deviation);

  describe.skipIf(obstacle !== '')(`${name}${obstacle}`, () => {
    let program: CompiledProgram;
    let mount: TransportMount;
    let readOnly: TransportMount;
    let stagingDirectory: string;
    let directories = 0;
    /** A new directory of the mount for each test. */
    let root: string;
    const at = (path: string): string => join(root, path);

    beforeAll(async () => {
      program = await compileTransportProgram();
      stagingDirectory = await fs.mkdtemp(join(tmpdir(), 'transport-staging-'));
      mount = await TransportMount.start(program.path, { ...contract, stagingDirectory });
      readOnly = await TransportMount.start(program.path, { ...contract, tree: 'synthetic' });
    });
    afterAll(async () => {
      try {
        await Promise.all([mount.stop(), readOnly.stop()]);
      } finally {
        await fs.rm(stagingDirectory, { recursive: true });
        await program.remove();
      }
    });
    beforeEach(async () => {
      directories += 1;
      root = join(mount.path, `test-${directories}`);
      await fs.mkdir(root);
    });

    describe('content', () => {
      test('is written, read, appended to and cut off', async () => {
        await fs.writeFile(at('f'), 'hello');
        expect(await fs.readFile(at('f'), 'utf8')).toBe('hello');
        await fs.appendFile(at('f'), ', world');
        expect(await fs.readFile(at('f'), 'utf8')).toBe('hello, world');
        const file = await fs.open(at('f'), 'r+');
        await file.write(Buffer.from('J'), 0, 1, 0);
        await file.write(Buffer.from('end'), 0, 3, 20);
        await file.close();
        expect(await fs.readFile(at('f'), 'latin1')).toBe(`Jello, world${'\0'.repeat(8)}end`);
        await fs.truncate(at('f'), 5);
        expect(await fs.readFile(at('f'), 'utf8')).toBe('Jello');
        await fs.truncate(at('f'), 7);
        expect(await fs.readFile(at('f'), 'utf8')).toBe('Jello\0\0');
        await fs.writeFile(at('f'), 'new');
        expect(await fs.readFile(at('f'), 'utf8')).toBe('new');
        expect((await fs.stat(at('f'))).size).toBe(3);
      });

      test('is seen through other handles at once', async () => {
        const writer = await fs.open(at('f'), 'w');
        const reader = await fs.open(at('f'), 'r');
        for (const text of ['one', 'two', 'three']) {
          await writer.truncate(0);
          await writer.write(text, 0);
          const { buffer, bytesRead } = await reader.read(Buffer.alloc(10), 0, 10, 0);
          expect(buffer.toString('utf8', 0, bytesRead)).toBe(text);
          expect((await reader.stat()).size).toBe(text.length);
        }
        await writer.close();
        await reader.close();
      });

      test('can lie beyond 4 GiB with nothing before it', async () => {
        const file = await fs.open(at('f'), 'w+');
        await file.write(Buffer.from('far'), 0, 3, 5 * GiB - 1);
        expect((await file.stat()).size).toBe(5 * GiB + 2);
        const { buffer } = await file.read(Buffer.alloc(6), 0, 6, 5 * GiB - 4);
        expect(buffer.toString('latin1')).toBe('\0\0\0far');
        expect((await file.read(Buffer.alloc(6), 0, 6, 4 * GiB)).buffer).toEqual(Buffer.alloc(6));
        await file.truncate(2 ** 40 + 1);
        expect((await file.stat()).size).toBe(2 ** 40 + 1);
        await file.close();
      });

      test.skipIf(contract.tree !== 'memory')('is written in long requests', async () => {
        const data = Buffer.alloc(16 * MiB);
        for (let word = 0; word < data.length; word += 4) data.writeUInt32LE(word, word);
        const before = await mount.state();
        const file = await fs.open(at('f'), 'w');
        expect((await file.write(data)).bytesWritten).toBe(data.length);
        await file.close();
        const after = await mount.state();
        const longest = deviates('write-size') ? 128 * 1024 : MiB;
        expect(after.longestWriteBytes).toBe(longest);
        expect(after.writes - before.writes).toBeLessThanOrEqual(data.length / longest + 32);
        expect((await fs.readFile(at('f'))).equals(data)).toBe(true);
        const direct = await run('dd', [`if=${at('f')}`, 'bs=1M', 'iflag=direct'], {
          encoding: 'buffer',
          maxBuffer: 2 ** 25,
        });
        expect(direct.stdout.equals(data)).toBe(true);
      });

      test.skipIf(contract.tree !== 'memory')('reaches the tree with fsync', async () => {
        const file = await fs.open(at('f'), 'w');
        const before = await mount.state();
        await file.sync();
        await file.datasync();
        await file.close();
        const directory = await fs.open(root, 'r');
        await directory.sync();
        await directory.close();
        expect((await mount.state()).syncs - before.syncs).toBe(3);
      });

      test.skipIf(!has('python3'))('can be mapped and written through the mapping', async () => {
        await fs.writeFile(at('f'), Buffer.alloc(10_000, 'x'));
        const script = `
f = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(f, 10000, mmap.MAP_SHARED)
m[5000:5005] = b'hello'
m.flush()
m[9000:9005] = b'world'
m.close()
os.close(f)
print('done')`;
        expect(await python(script, at('f'))).toBe('done');
        const { stdout } = await run('dd', [`if=${at('f')}`, 'bs=4096', 'iflag=direct']);
        expect([stdout.slice(4999, 5006), stdout.slice(8999, 9006)]).toEqual(['xhellox', 'xworldx']);
      });

      test.skipIf(!has('fallocate') || deviates('fallocate'))('can have space reserved', async () => {
        await run('fallocate', ['-l', '1000', at('f')]);
        expect((await fs.stat(at('f'))).size).toBe(1000);
        await run('fallocate', ['-n', '-l', '5000', at('f')]);
        expect((await fs.stat(at('f'))).size).toBe(1000);
        await expect(run('fallocate', ['-p', '-l', '100', at('f')])).rejects.toThrow('unsupported');
      });

      test.skipIf(!has('python3'))('is copied by copy_file_range', async () => {
        await fs.writeFile(at('f'), Buffer.alloc(3 * MiB, 'ab'));
        const script = `
a, b = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
left = 3 << 20
while left > 0: left -= os.copy_file_range(a, b, left)
print('done')`;
        expect(await python(script, at('f'), at('g'))).toBe('done');
        expect((await fs.readFile(at('g'))).equals(await fs.readFile(at('f')))).toBe(true);
      });
    });

    describe('names', () => {
      test('are made once, whoever tries', async () => {
        const tries = await Promise.all(
          Array.from({ length: 8 }, () => code(fs.writeFile(at('f'), 'x', { flag: 'wx' }))),
        );
        expect(tries.filter((one) => one === 'done').length).toBe(1);
        expect(tries.filter((one) => one === 'EEXIST').length).toBe(7);
        expect(await code(fs.open(at('f'), 'wx'))).toBe('EEXIST');
      });

      test('follow a rename, over what was there', async () => {
        await fs.writeFile(at('a'), 'a');
        await fs.writeFile(at('b'), 'b');
        const old = await fs.open(at('b'), 'r');
        const { ino } = await fs.stat(at('a'));
        await fs.rename(at('a'), at('b'));
        expect([await fs.readFile(at('b'), 'utf8'), await fs.readdir(root)]).toEqual([
          'a',
          deviates('hidden-files') ? expect.arrayContaining(['b']) : ['b'],
        ]);
        expect((await fs.stat(at('b'))).ino).toBe(ino);
        expect((await old.read(Buffer.alloc(1), 0, 1, 0)).buffer.toString()).toBe('b');
        await old.close();
        await fs.mkdir(at('d/e'), { recursive: true });
        await fs.writeFile(at('d/e/f'), 'deep');
        const inside = await fs.open(at('d/e/f'), 'a');
        await fs.rename(at('d'), at('D'));
        await inside.appendFile('er');
        await inside.close();
        expect(await fs.readFile(at('D/e/f'), 'utf8')).toBe('deeper');
        expect(await code(fs.stat(at('d/e/f')))).toBe('ENOENT');
        await fs.mkdir(at('empty'));
        await fs.rename(at('D'), at('empty'));
        expect(await fs.readFile(at('empty/e/f'), 'utf8')).toBe('deeper');
      });

      test.skipIf(!has('python3'))('are exchanged, and not replaced where they must not be', async () => {
        await fs.writeFile(at('a'), 'file');
        await fs.mkdir(at('b'));
        await fs.writeFile(at('b/inside'), '');
        const exchanged = await renameWithFlags(at('a'), at('b'), RENAME_EXCHANGE);
        const whiteout = await renameWithFlags(at('a'), at('c'), RENAME_WHITEOUT);
        expect(whiteout).toBe('EINVAL');
        expect(await renameWithFlags(at('a'), at('b'), RENAME_NOREPLACE)).toBe('EEXIST');
        if (deviates('rename-flags')) {
          expect(exchanged).toBe('EINVAL');
          return;
        }
        expect(exchanged).toBe('done');
        expect(await fs.readFile(at('b'), 'utf8')).toBe('file');
        expect(await fs.readdir(at('a'))).toEqual(['inside']);
        expect(await renameWithFlags(at('a'), at('c'), RENAME_NOREPLACE)).toBe('done');
        expect((await fs.readdir(root)).toSorted()).toEqual(['b', 'c']);
        expect(await renameWithFlags(at('b'), at('missing'), RENAME_EXCHANGE)).toBe('ENOENT');
      });

      test('go while what they stood for is open', async () => {
        const file = await fs.open(at('f'), 'w+');
        await file.writeFile('before');
        await fs.unlink(at('f'));
        expect(await code(fs.stat(at('f')))).toBe('ENOENT');
        await file.write('after', 6);
        expect((await file.read(Buffer.alloc(11), 0, 11, 0)).buffer.toString()).toBe('beforeafter');
        await file.truncate(3);
        await file.chmod(0o600);
        const { size, nlink, mode } = await file.stat();
        expect([size, mode & 0o777]).toEqual([3, 0o600]);
        if (!deviates('hidden-files')) expect(nlink).toBe(0);
        // The name is free.
        await fs.writeFile(at('f'), 'other');
        expect((await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('bef');
        await file.close();
        expect(await fs.readFile(at('f'), 'utf8')).toBe('other');
      });

      test('of a hard link are one file', async () => {
        await fs.writeFile(at('a'), 'one');
        await fs.mkdir(at('d'));
        await fs.link(at('a'), at('d/b'));
        expect(await fs.readFile(at('d/b'), 'utf8')).toBe('one');
        const [a, b] = [await fs.stat(at('a')), await fs.stat(at('d/b'))];
        expect([b.nlink, b.ino]).toEqual([2, a.ino]);
        if (!deviates('hard-links')) {
          expect(a.nlink).toBe(2);
          await fs.appendFile(at('d/b'), ' two');
          await fs.chmod(at('d/b'), 0o640);
          expect(await fs.readFile(at('a'), 'utf8')).toBe('one two');
          const later = await fs.stat(at('a'), { bigint: true });
          expect(later).toEqual(await fs.stat(at('d/b'), { bigint: true }));
          expect([later.mode & 0o777n, later.size]).toEqual([0o640n, 7n]);
        }
        await fs.unlink(at('a'));
        if (!deviates('hard-links')) expect((await fs.stat(at('d/b'))).nlink).toBe(1);
        expect(await code(fs.link(at('d'), at('e')))).toBe('EPERM');
        expect(await code(fs.link(at('d/b'), at('d')))).toBe('EEXIST');
      });

      test('of symbolic links stand for paths', async () => {
        await fs.writeFile(at('f'), 'there');
        await fs.symlink('f', at('link'));
        await fs.symlink('../nowhere/ü', at('dangling'));
        expect([await fs.readlink(at('link')), await fs.readlink(at('dangling'))]).toEqual([
          'f',
          '../nowhere/ü',
        ]);
        expect(await fs.readFile(at('link'), 'utf8')).toBe('there');
        expect((await fs.lstat(at('link'))).isSymbolicLink()).toBe(true);
        expect(await code(fs.stat(at('dangling')))).toBe('ENOENT');
        await fs.symlink('loop', at('loop'));
        expect(await code(fs.stat(at('loop')))).toBe('ELOOP');
        await fs.unlink(at('link'));
        expect(await fs.readFile(at('f'), 'utf8')).toBe('there');
      });

      test('that are not UTF-8 are refused', async () => {
        const odd = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x61, 0xff])]);
        expect(await code(fs.stat(odd))).toBe('ENOENT');
        expect(await code(fs.writeFile(odd, ''))).toBe('EILSEQ');
        expect(await code(fs.mkdir(odd))).toBe('EILSEQ');
        await fs.writeFile(at('f'), '');
        expect(await code(fs.rename(at('f'), odd))).toBe('EILSEQ');
        await fs.writeFile(at('grüße 🙂'), '');
        const valid = await code(fs.writeFile(at('\u{fffd}'), ''));
        expect(valid).toBe(deviates('replacement-character') ? 'EILSEQ' : 'done');
      });

      test('of things that are not there to be made', async () => {
        await expect(run('mkfifo', [at('pipe')])).rejects.toThrow('Operation not permitted');
        await expect(run('mknod', [at('null'), 'c', '1', '3'])).rejects.toThrow('Operation not permitted');
        if (has('python3')) {
          expect(await python('os.mknod(sys.argv[1], 0o100640)\nprint("done")', at('f'))).toBe('done');
          expect((await fs.stat(at('f'))).isFile()).toBe(true);
        }
      });
    });

    describe('directories', () => {
      test('list what is in them, with types', async () => {
        await fs.mkdir(at('d'));
        await fs.writeFile(at('f'), '');
        await fs.symlink('f', at('l'));
        const kind = (one: Dirent) => (one.isDirectory() ? 'd' : one.isFile() ? 'f' : 'l');
        const list = async () =>
          (await fs.readdir(root, { withFileTypes: true }))
            .map((one) => `${one.name}${kind(one)}`)
            .toSorted();
        expect(await list()).toEqual(['dd', 'ff', 'll']);
        await fs.rmdir(at('d'));
        await fs.writeFile(at('d'), '');
        expect(await list()).toEqual(['df', 'ff', 'll']);
      });

      test.skipIf(!has('python3'))('list types without a further question', async () => {
        await sh('mkdir d; touch f; ln -s f l', root);
        // struct dirent: the type is at byte 18, the name at 19.
        const script = `
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
d = libc.opendir(sys.argv[1].encode())
found = []
while entry := libc.readdir(ctypes.c_void_p(d)):
    name = ctypes.string_at(entry + 19).decode()
    if name[0] != '.': found.append(name + str(ctypes.string_at(entry + 18, 1)[0]))
print(sorted(found))`;
        expect(await python(script, root)).toBe("['d4', 'f8', 'l10']");
      });

      test('can be emptied while they are read', async () => {
        await sh('touch $(seq 1 1000)', root);
        const directory = await fs.opendir(root, { bufferSize: 1 });
        let seen = 0;
        for await (const entry of directory) {
          await fs.unlink(at(entry.name));
          seen += 1;
        }
        expect([seen, await fs.readdir(root)]).toEqual([1000, []]);
      });

      test('that are read late tell nothing of what is gone', async () => {
        await sh('touch $(seq 1 3000)', root);
        const directory = await fs.opendir(root, { bufferSize: 1 });
        await directory.read();
        await sh('rm $(seq 2000 3000)', root);
        while ((await directory.read()) !== null);
        await directory.close();
        expect(await code(fs.stat(at('3000')))).toBe('ENOENT');
        expect((await fs.readdir(root)).length).toBe(1999);
      });

      test.skipIf(!has('python3'))('begin again with what is there then', async () => {
        await fs.writeFile(at('a'), '');
        const script = `
d = os.open(sys.argv[1], os.O_RDONLY)
print(os.listdir(d))
os.rename(sys.argv[1] + '/a', sys.argv[1] + '/b')
print(os.listdir(d))`;
        expect(await python(script, root)).toBe("['a']\n['b']");
      });

      test('with a thousand files are removed', async () => {
        await sh('mkdir -p d/e && touch d/$(seq -s " d/" 1 500) d/e/$(seq -s " d/e/" 1 500)', root);
        expect((await fs.readdir(at('d/e'))).length).toBe(500);
        await run('rm', ['-r', at('d')]);
        expect(await fs.readdir(root)).toEqual([]);
      });
    });

    describe('attributes', () => {
      test('mode, owner and the umask', async () => {
        await sh('umask 027; mkdir d; echo > f; (umask 0; mkdir open; echo > public)', root);
        const modes = await Promise.all(
          ['d', 'f', 'open', 'public'].map(async (one) => (await fs.stat(at(one))).mode & 0o7777),
        );
        expect(modes).toEqual([0o750, 0o640, 0o777, 0o666]);
        await fs.chmod(at('f'), 0o4751);
        expect((await fs.stat(at('f'))).mode & 0o7777).toBe(0o4751);
        await fs.chown(at('f'), 1234, 5678);
        const { uid, gid, mode } = await fs.stat(at('f'));
        // Whoever owns it now did not ask for set-user-id.
        expect([uid, gid, mode & 0o7777]).toEqual([1234, 5678, 0o751]);
        await run('chgrp', ['99', at('f')]);
        expect(await fs.stat(at('f'))).toMatchObject({ uid: 1234, gid: 99 });
      });

      test.skipIf(!has('setpriv'))('of what others make and write', async () => {
        await fs.chmod(root, 0o777);
        const other = (command: string) =>
          run('setpriv', ['--reuid=1234', '--regid=1234', '--clear-groups', 'bash', '-ec', command], {
            cwd: root,
          });
        await other('echo > made; mkdir dir');
        const owner = deviates('owner') ? { uid: 0, gid: 0 } : { uid: 1234, gid: 1234 };
        expect(await fs.stat(at('made'))).toMatchObject(owner);
        expect(await fs.stat(at('dir'))).toMatchObject(owner);
        await fs.writeFile(at('privileged'), '');
        for (const command of ['echo >> privileged', 'echo > privileged', 'truncate -s 0 privileged']) {
          await fs.chmod(at('privileged'), 0o6777);
          await other(command);
          expect((await fs.stat(at('privileged'))).mode & 0o7777, command).toBe(0o777);
        }
        await fs.writeFile(at('private'), 'x', { mode: 0o600 });
        await expect(other('cat private')).rejects.toThrow('Permission denied');
        await expect(other('chmod 777 private')).rejects.toThrow('not permitted');
      });

      test('the group of a directory is inherited', async () => {
        await fs.mkdir(at('shared'));
        await fs.chown(at('shared'), 0, 4321);
        await fs.chmod(at('shared'), 0o2775);
        await fs.mkdir(at('shared/d'));
        await fs.writeFile(at('shared/f'), '');
        expect((await fs.stat(at('shared/f'))).gid).toBe(4321);
        const { gid, mode } = await fs.stat(at('shared/d'));
        expect([gid, mode & 0o2000]).toEqual([4321, 0o2000]);
      });

      test('inode numbers have 64 bits and stay', async () => {
        await fs.writeFile(at('f'), '');
        const { ino } = await fs.stat(at('f'));
        expect(ino > 2 ** 32).toBe(!deviates('inode-numbers'));
        expect((await sh('ls -i f', root)).split(' ')[0]).toBe(String(ino));
        await fs.rename(at('f'), at('g'));
        expect((await fs.stat(at('g'))).ino).toBe(ino);
      });

      test('times, to the nanosecond', async () => {
        await fs.writeFile(at('f'), '');
        const times = async () => {
          const { atimeNs, mtimeNs } = await fs.lstat(at('f'), { bigint: true });
          return [atimeNs, mtimeNs];
        };
        const both = async (atime: string, mtime: string) => {
          if (has('python3'))
            await python(
              'os.utime(sys.argv[1], ns=(int(sys.argv[2]), int(sys.argv[3])))',
              at('f'),
              atime,
              mtime,
            );
          return has('python3') ? times() : [BigInt(atime), BigInt(mtime)];
        };
        const [first = 0n, second] = await both('1600000000123456789', '1500000000987654321');
        expect(first).toBe(
          deviates('milliseconds') ? 1_600_000_000_123_000_000n : 1_600_000_000_123_456_789n,
        );
        expect(second).toBe(deviates('mtime') ? first : 1_500_000_000_987_654_321n);
        if (deviates('one-time')) {
          await run('touch', ['-a', '-d', '@1', at('f')]);
          expect(await times()).toEqual([first, second]);
          return;
        }
        await run('touch', ['-a', '-d', '@1500000000.987654321', at('f')]);
        await run('touch', ['-m', '-d', '@1600000000.123456789', at('f')]);
        expect(await times()).toEqual([1_500_000_000_987_654_321n, 1_600_000_000_123_456_789n]);
        await run('touch', ['-m', '-d', '@-1.5', at('f')]);
        expect(await times()).toEqual([1_500_000_000_987_654_321n, -1_500_000_000n]);
        const before = BigInt(Date.now()) * 1_000_000n;
        await run('touch', ['-m', at('f')]);
        const [atime, mtime = 0n] = await times();
        expect(atime).toBe(1_500_000_000_987_654_321n);
        expect(mtime).toBeGreaterThanOrEqual(before);
        await fs.symlink('f', at('l'));
        await run('touch', ['-h', '-d', '@1.000000002', at('l')]);
        expect((await fs.lstat(at('l'), { bigint: true })).mtimeNs).toBe(1_000_000_002n);
      });

      test('times of what is written and where names come and go', async () => {
        await fs.writeFile(at('f'), 'x');
        const age = ['-d', '@1000000000'];
        for (const [path, change] of [
          ['f', () => fs.appendFile(at('f'), 'y')],
          ['f', () => fs.truncate(at('f'), 1)],
          ['f', () => fs.writeFile(at('f'), 'new')],
          ['', () => fs.writeFile(at('g'), '')],
          ['', () => fs.rename(at('g'), at('h'))],
          ['', () => fs.unlink(at('h'))],
        ] as const) {
          await run('touch', [...age, at(path)]);
          expect((await fs.stat(at(path))).mtimeMs).toBe(1e12);
          await change();
          expect((await fs.stat(at(path))).mtimeMs, String(change)).toBeGreaterThan(1.6e12);
        }
      });

      test.skipIf(!has('python3'))('extended ones', async () => {
        await fs.writeFile(at('f'), '');
        const script = `
f = sys.argv[1]
def errno_of(call, *args):
    try:
        call(*args)
        return 'done'
    except OSError as error:
        return errno.errorcode[error.errno]
os.setxattr(f, 'user.a', b'x' * 1000)
os.setxattr(f, 'user.empty', b'')
print(sorted(os.listxattr(f)), len(os.getxattr(f, 'user.a')), os.getxattr(f, 'user.empty'))
print(errno_of(os.setxattr, f, 'user.a', b'', os.XATTR_CREATE), errno_of(os.setxattr, f, 'user.b', b'', os.XATTR_REPLACE))
os.setxattr(f, 'user.a', b'short', os.XATTR_REPLACE)
print(os.getxattr(f, 'user.a'))
os.removexattr(f, 'user.a')
print(errno_of(os.getxattr, f, 'user.a'), errno_of(os.removexattr, f, 'user.a'), os.listxattr(f))
print(errno_of(os.setxattr, f, 'trusted.a', b''), errno_of(os.setxattr, f, 'security.capability', b''))
small = ctypes.create_string_buffer(1)
os.setxattr(f, 'user.a', b'long')
print(libc.getxattr(f.encode(), b'user.a', small, 1), errno.errorcode[ctypes.get_errno()])`;
        expect((await python(script, at('f'))).split('\n')).toEqual([
          "['user.a', 'user.empty'] 1000 b''",
          'EEXIST ENODATA',
          "b'short'",
          "ENODATA ENODATA ['user.empty']",
          'ENOTSUP ENOTSUP',
          '-1 ERANGE',
        ]);
      });
    });

    test('mistakes have the errors that they have elsewhere', async () => {
      await fs.mkdir(at('full/sub'), { recursive: true });
      await fs.mkdir(at('other'));
      await fs.writeFile(at('file'), '');
      const long = 'x'.repeat(256);
      const mistakes: Readonly<Record<string, readonly (() => Promise<unknown>)[]>> = {
        ENOTEMPTY: [() => fs.rmdir(at('full')), () => fs.rename(at('other'), at('full'))],
        EEXIST: [() => fs.mkdir(at('full')), () => fs.symlink('x', at('file'))],
        ENOTDIR: [
          () => fs.rmdir(at('file')),
          () => fs.stat(at('file/x')),
          () => fs.rename(at('full'), at('file')),
        ],
        EISDIR: [
          () => fs.unlink(at('full')),
          () => fs.writeFile(at('full'), ''),
          () => fs.rename(at('file'), at('full')),
        ],
        ENOENT: [
          () => fs.unlink(at('no')),
          () => fs.rmdir(at('no')),
          () => fs.rename(at('no'), at('x')),
          () => fs.mkdir(at('no/x')),
        ],
        ENAMETOOLONG: [
          () => fs.writeFile(at(long), ''),
          () => fs.mkdir(at(long)),
          () => fs.rename(at('file'), at(long)),
        ],
        EINVAL: [() => fs.rename(at('full'), at('full/sub/x')), () => fs.readlink(at('file'))],
      };
      for (const [expected, works] of Object.entries(mistakes)) {
        for (const work of works) expect(await code(work()), String(work)).toBe(expected);
      }
      await fs.writeFile(at('n'.repeat(255)), '');
    });

    describe('programs', () => {
      let source: string;
      beforeAll(async () => {
        source = await fs.mkdtemp(join(tmpdir(), 'transport-source-'));
        await sh(
          `mkdir -p a/b empty; head -c 3000000 /dev/urandom > a/big; for i in $(seq 100); do echo $i > a/b/$i; done
          echo > "with space"; ln -s a/b/1 link; ln -s nowhere dangling; chmod 750 a/b; chmod 600 a/big; chmod +x a/b/7
          : > void; find . -exec touch -h -d '@1234567890.123456789' {} +`,
          source,
        );
      });
      afterAll(() => fs.rm(source, { recursive: true }));
      const expectCopy = async (directory: string) => {
        const times = !deviates('mtime');
        expect(await inventory(directory, times)).toBe(await inventory(source, times));
      };

      test('cp -a', async () => {
        await run('cp', ['-a', `${source}/.`, root]);
        await expectCopy(root);
      });

      test('tar', async () => {
        await sh(`tar -C '${source}' -c --format=posix . | tar -x --delay-directory-restore`, root);
        await expectCopy(root);
      });

      test.skipIf(!has('rsync'))('rsync -a', async () => {
        await run('rsync', ['-a', `${source}/`, root]);
        await expectCopy(root);
        if (deviates('mtime')) return;
        const { stdout } = await run('rsync', ['-ai', `${source}/`, root]);
        expect(stdout).toBe('');
      });

      test.skipIf(!has('git'))('git', async () => {
        const id = '-c user.name=a -c user.email=a@b -c init.defaultBranch=main';
        await sh(`git ${id} init -q && cp -r '${source}/a' . && git add . && git ${id} commit -qm one`, root);
        expect(await sh('git fsck && git status --porcelain', root)).toBe('');
        await sh('git rm -qr a/b && git stash -q 2>/dev/null || git reset -q --hard', root);
        expect((await fs.readdir(at('a/b'))).length).toBe(100);
      });
    });

    test('what can not be changed says so', async () => {
      const on = (path: string) => join(readOnly.path, path);
      const changes: Readonly<Record<string, () => Promise<unknown>>> = {
        create: () => fs.writeFile(on('a/new'), ''),
        'open for writing': () => fs.open(on('hello.txt'), 'r+'),
        'open to truncate': () => fs.open(on('hello.txt'), constants.O_RDONLY | constants.O_TRUNC),
        append: () => fs.open(on('hello.txt'), 'a'),
        truncate: () => fs.truncate(on('hello.txt'), 0),
        mkdir: () => fs.mkdir(on('new')),
        unlink: () => fs.unlink(on('hello.txt')),
        rmdir: () => fs.rmdir(on('a/b/c')),
        rename: () => fs.rename(on('hello.txt'), on('other')),
        'rename over': () => fs.rename(on('hello.txt'), on('old.txt')),
        link: () => fs.link(on('hello.txt'), on('other')),
        symlink: () => fs.symlink('x', on('other')),
        chmod: () => fs.chmod(on('hello.txt'), 0o600),
        chown: () => fs.chown(on('hello.txt'), 1, 1),
        utimes: () => fs.utimes(on('hello.txt'), 1, 1),
      };
      for (const [change, outcome] of Object.entries(changes)) {
        expect(await code(outcome()), change).toBe('EROFS');
      }
      await expect(run('mkfifo', [on('pipe')])).rejects.toThrow('Read-only file system');
      if (has('python3')) {
        const set = 'os.setxattr(sys.argv[1], "user.x", b"")';
        const remove = 'os.removexattr(sys.argv[1], "user.dtool.hash")';
        expect([await python(set, on('hello.txt')), await python(remove, on('hello.txt'))]).toEqual([
          'EROFS',
          'EROFS',
        ]);
        expect(await renameWithFlags(on('hello.txt'), on('old.txt'), RENAME_EXCHANGE)).toBe(
          deviates('rename-flags') ? 'EINVAL' : 'EROFS',
        );
      }
      // And reading goes on.
      expect(await fs.readFile(on('hello.txt'), 'utf8')).toBe('hello, world\n');
    });

    describeLikeness(() => root, deviates);

    test('in the end nothing is open', async () => {
      await mount.until(({ openHandles }) => openHandles === 0);
    });
  });
}
