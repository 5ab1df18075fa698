import * as fs from 'node:fs/promises';
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
}
