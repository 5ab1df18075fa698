import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import { code, has, python, renameWithFlags, RENAME_EXCHANGE, type Place } from './place.ts';

/** What is refused, and how. */
export function describeErrors(place: Place): void {
  const { at, deviates } = place;
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

  test('what can not be changed says so', async () => {
    const on = (path: string) => join(place.readOnly.path, path);
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
}
