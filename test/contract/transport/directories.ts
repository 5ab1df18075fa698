import { type Dirent } from 'node:fs';
import * as fs from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import { code, has, python, sh, type Place } from './place.ts';

/** So long that 150 names fill what the C library reads at once, which is 32 KiB. */
const NAME_LENGTH = 200;
/** Numbers as names, for a shell. */
const longNames = (first: number, last: number): string => `$(seq -f '%0${NAME_LENGTH}g' ${first} ${last})`;

/** How directories are listed. */
export function describeDirectories(place: Place): void {
  const { at, deviates } = place;
  describe('directories', () => {
    test.skipIf(deviates('removed-directories'))(
      'that were removed are empty for those who are in them',
      async () => {
        for (const directory of [place.root, place.mount.path]) {
          const said = await sh(
            'mkdir gone && cd gone && rmdir ../gone && ls -A 2>&1; touch f 2>&1 || true',
            directory,
          );
          expect(said).toBe("touch: cannot touch 'f': No such file or directory\n");
        }
      },
    );

    test('list what is in them, with types', async () => {
      await fs.mkdir(at('d'));
      await fs.writeFile(at('f'), '');
      await fs.symlink('f', at('l'));
      const kind = (one: Dirent) => (one.isDirectory() ? 'd' : one.isFile() ? 'f' : 'l');
      const list = async () =>
        (await fs.readdir(place.root, { withFileTypes: true }))
          .map((one) => `${one.name}${kind(one)}`)
          .toSorted();
      expect(await list()).toEqual(['dd', 'ff', 'll']);
      await fs.rmdir(at('d'));
      await fs.writeFile(at('d'), '');
      expect(await list()).toEqual(['df', 'ff', 'll']);
    });

    test.skipIf(!has('python3'))('list types without a further question', async () => {
      await sh('mkdir d; touch f; ln -s f l', place.root);
      // struct dirent: the type is at byte 18, the name at 19.
      const script = `
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
d = libc.opendir(sys.argv[1].encode())
found = []
while entry := libc.readdir(ctypes.c_void_p(d)):
  name = ctypes.string_at(entry + 19).decode()
  if name[0] != '.': found.append(name + str(ctypes.string_at(entry + 18, 1)[0]))
print(sorted(found))`;
      expect(await python(script, place.root)).toBe("['d4', 'f8', 'l10']");
    });

    test('can be emptied while they are read', async () => {
      await sh(`touch ${longNames(1, 200)}`, place.root);
      const directory = await fs.opendir(place.root, { bufferSize: 1 });
      let seen = 0;
      for await (const entry of directory) {
        await fs.unlink(at(entry.name));
        seen += 1;
      }
      expect([seen, await fs.readdir(place.root)]).toEqual([200, []]);
    });

    test('that are read late tell nothing of what is gone', async () => {
      await sh(`touch ${longNames(1, 600)}`, place.root);
      const directory = await fs.opendir(place.root, { bufferSize: 1 });
      await directory.read();
      await sh(`rm ${longNames(400, 600)}`, place.root);
      while ((await directory.read()) !== null);
      await directory.close();
      expect(await code(fs.stat(at('600'.padStart(NAME_LENGTH, '0'))))).toBe('ENOENT');
      expect((await fs.readdir(place.root)).length).toBe(399);
    });

    test.skipIf(!has('python3'))('begin again with what is there then', async () => {
      await fs.writeFile(at('a'), '');
      const script = `
d = os.open(sys.argv[1], os.O_RDONLY)
print(os.listdir(d))
os.rename(sys.argv[1] + '/a', sys.argv[1] + '/b')
print(os.listdir(d))`;
      expect(await python(script, place.root)).toBe("['a']\n['b']");
    });

    test('with a thousand files are removed', async () => {
      await sh('mkdir -p d/e && touch d/$(seq -s " d/" 1 500) d/e/$(seq -s " d/e/" 1 500)', place.root);
      expect((await fs.readdir(at('d/e'))).length).toBe(500);
      await run('rm', ['-r', at('d')]);
      expect(await fs.readdir(place.root)).toEqual([]);
    });
  });
}
