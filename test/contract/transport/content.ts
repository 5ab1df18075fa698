import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import { has, python, MiB, GiB, type Place } from './place.ts';

/** What files hold. */
export function describeContent(place: Place): void {
  const { at, deviates, contract } = place;
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
      const before = await place.mount.state();
      const file = await fs.open(at('f'), 'w');
      expect((await file.write(data)).bytesWritten).toBe(data.length);
      await file.close();
      const after = await place.mount.state();
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
      const before = await place.mount.state();
      await file.sync();
      await file.datasync();
      await file.close();
      const directory = await fs.open(place.root, 'r');
      await directory.sync();
      await directory.close();
      expect((await place.mount.state()).syncs - before.syncs).toBe(3);
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
    });

    test.skipIf(!has('python3') || deviates('fallocate'))(
      'can have holes, as far as the disk can',
      async () => {
        const script = `
import hashlib
os.chdir(sys.argv[1])
f = os.open('sparse', os.O_RDWR | os.O_CREAT)
os.write(f, b'x' * (1 << 20))
os.fsync(f)
def allocate(mode, offset, length):
    said = libc.fallocate(f, mode, ctypes.c_long(offset), ctypes.c_long(length))
    os.lseek(f, 0, 0)
    content = os.read(f, 4 << 20)
    print(mode, said and errno.errorcode[ctypes.get_errno()], len(content), hashlib.md5(content).hexdigest())
for step in [(3, 65536, 131072), (3, 300000, 1000), (16, 400000, 100000), (17, 900000, 1 << 20), (16, 1000000, 1 << 20), (2, 0, 1), (16, 0, 0)]:
    allocate(*step)
os.fsync(f)
if sys.argv[2] == 'segments':
    end, at = os.fstat(f).st_size, 0
    while at < end:
        try: data = os.lseek(f, at, os.SEEK_DATA)
        except OSError as error: print('no more data', errno.errorcode[error.errno]); break
        at = os.lseek(f, data, os.SEEK_HOLE)
        print(data, at)
    for to in (os.SEEK_DATA, os.SEEK_HOLE):
        try: print(os.lseek(f, end, to))
        except OSError as error: print(errno.errorcode[error.errno])
print(os.lseek(f, -5, os.SEEK_END))`;
        const local = await fs.mkdtemp(join(tmpdir(), 'transport-sparse-'));
        const segments = contract.tree === 'staging' ? 'segments' : 'content';
        const said = await python(script, place.root, segments);
        // A tree in memory can do it all; a disk may say that it can't.
        if (contract.tree === 'staging') expect(said).toBe(await python(script, local, segments));
        expect(said).toMatch(/^3 0 1048576/);
        await fs.rm(local, { recursive: true });
      },
    );

    test.skipIf(!has('python3'))('is found by lseek also where nobody knows of holes', async () => {
      const script = `
f = os.open(sys.argv[1], os.O_RDONLY)
print(os.lseek(f, 3, os.SEEK_DATA), os.lseek(f, 3, os.SEEK_HOLE), os.fstat(f).st_size)
os.lseek(f, os.fstat(f).st_size, os.SEEK_DATA)`;
      const { size } = await fs.stat(join(place.readOnly.path, 'hello.txt'));
      expect(await python(script, join(place.readOnly.path, 'hello.txt'))).toBe(`3 ${size} ${size}\nENXIO`);
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
}
