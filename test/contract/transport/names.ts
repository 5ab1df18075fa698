import * as fs from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import {
  code,
  has,
  isLinux,
  python,
  renameWithFlags,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  sh,
  type Place,
} from './place.ts';

/** How names are made, moved and removed. */
export function describeNames(place: Place): void {
  const { at, deviates } = place;
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
      expect([await fs.readFile(at('b'), 'utf8'), await fs.readdir(place.root)]).toEqual([
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
      expect((await fs.readdir(place.root)).toSorted()).toEqual(['b', 'c']);
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

    test.skipIf(deviates('link-bytes'))('of symbolic links may stand for any bytes', async () => {
      const target = Buffer.from([0x2e, 0x2f, 0xff, 0xfe, 0x61]);
      await fs.symlink(target, at('odd'));
      expect(await fs.readlink(at('odd'), 'buffer')).toEqual(target);
      expect((await fs.lstat(at('odd'))).size).toBe(5);
      await sh('cp -a odd copy && ln odd hard && mv odd moved', place.root);
      for (const name of ['copy', 'hard', 'moved'])
        expect(await fs.readlink(at(name), 'buffer'), name).toEqual(target);
    });

    test('that are not UTF-8 are refused', async () => {
      const odd = Buffer.concat([Buffer.from(`${place.root}/`), Buffer.from([0x61, 0xff])]);
      expect(await code(fs.stat(odd))).toBe('ENOENT');
      expect(await code(fs.writeFile(odd, ''))).toBe('EILSEQ');
      expect(await code(fs.mkdir(odd))).toBe('EILSEQ');
      await fs.writeFile(at('f'), '');
      expect(await code(fs.rename(at('f'), odd))).toBe('EILSEQ');
      await fs.writeFile(at('grüße 🙂'), '');
      const valid = await code(fs.writeFile(at('\u{fffd}'), ''));
      expect(valid).toBe(deviates('replacement-character') ? 'EILSEQ' : 'done');
    });

    test('of hard links to symbolic links, pipes and sockets are one thing', async () => {
      await fs.symlink('nowhere', at('link'));
      await fs.link(at('link'), at('again'));
      expect(await fs.readlink(at('again'))).toBe('nowhere');
      await run('mkfifo', ['-m', '640', at('pipe')]);
      await fs.link(at('pipe'), at('pipe again'));
      for (const [one, other] of [
        ['link', 'again'],
        ['pipe', 'pipe again'],
      ] as const) {
        const [a, b] = [await fs.lstat(at(one)), await fs.lstat(at(other))];
        expect([b.ino, b.mode, b.nlink]).toEqual([a.ino, a.mode, 2]);
        await fs.unlink(at(one));
        if (!deviates('hard-links')) expect((await fs.lstat(at(other))).nlink).toBe(1);
      }
      await fs.mkdir(at('d'));
      await sh(
        `mv again 'pipe again' d && cp -al d copy && test "$(stat -c %i copy/again)" = "$(stat -c %i d/again)"`,
        place.root,
      );
    });

    test('of named pipes join two processes', async () => {
      await run('mkfifo', ['-m', '640', at('pipe')]);
      const text = await sh('echo through > pipe & cat pipe; wait', place.root);
      expect(text).toBe('through\n');
      expect(
        await sh(
          'stat -c "%F %a" pipe; ls -F; chmod 600 pipe; mv pipe p; stat -c %a p; rm p; ls',
          place.root,
        ),
      ).toBe('fifo 640\npipe|\n600\n');
      await run('mkfifo', ['-m', '600', at('pipe')]);
      await sh('tar cf - pipe | tar xf - --one-top-level=x && test -p x/pipe', place.root);
      if (has('rsync')) await sh('rsync -a pipe y/ && test -p y/pipe', place.root);
    });

    test.skipIf(!has('python3'))('of sockets are where programs find each other', async () => {
      const script = `
import socket, stat
os.chdir(sys.argv[1])
server = socket.socket(socket.AF_UNIX); server.bind('socket'); server.listen()
print(stat.S_ISSOCK(os.lstat('socket').st_mode))
os.rename('socket', 'moved')
if os.fork() == 0:
    client = socket.socket(socket.AF_UNIX); client.connect('moved'); client.sendall(b'hello'); os._exit(0)
print(server.accept()[0].recv(5).decode())
os.wait()
server.close()
try: socket.socket(socket.AF_UNIX).connect('moved')
except ConnectionRefusedError: print('refused')
os.unlink('moved')
print(os.listdir('.'))`;
      expect(await python(script, place.root)).toBe('True\nhello\nrefused\n[]');
    });

    test.skipIf(!has('python3') || deviates('temporary-files') || !isLinux(6, 1))(
      'come later than the files that they are given to',
      async () => {
        const script = `
os.chdir(sys.argv[1])
f = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(f, b'whole')
print(os.listdir('.'), os.fstat(f).st_nlink, oct(os.fstat(f).st_mode))
check(libc.linkat(-100, b'/proc/self/fd/%d' % f, -100, b'named', 0x400))
print(open('named').read(), os.stat('named').st_nlink, os.fstat(f).st_nlink, os.stat('named').st_ino == os.fstat(f).st_ino)
os.write(f, b' again'); os.close(f)
print(open('named').read(), os.listdir('.'))
g = os.open('.', os.O_TMPFILE | os.O_WRONLY | os.O_EXCL)
try: check(libc.linkat(-100, b'/proc/self/fd/%d' % g, -100, b'never', 0x400))
except OSError as error: print(errno.errorcode[error.errno])
os.write(g, b'x'); os.close(g)
os.unlink('named')
print(os.listdir('.'))`;
        expect(await python(script, place.root)).toBe(
          "[] 0 0o100640\nwhole 1 1 True\nwhole again ['named']\nENOENT\n[]",
        );
      },
    );

    test('of things that are not there to be made', async () => {
      await expect(run('mknod', [at('null'), 'c', '1', '3'])).rejects.toThrow('Operation not permitted');
      if (has('python3')) {
        expect(await python('os.mknod(sys.argv[1], 0o100640)\nprint("done")', at('f'))).toBe('done');
        expect((await fs.stat(at('f'))).isFile()).toBe(true);
      }
    });
  });
}
