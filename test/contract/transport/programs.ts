import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../support/test-mounts.ts';
import { has, inventory, sh, type Place } from './place.ts';

/** Programs that make and copy whole trees. */
export function describePrograms(place: Place): void {
  const { at, deviates } = place;
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
      await run('cp', ['-a', `${source}/.`, place.root]);
      await expectCopy(place.root);
    });

    test('tar', async () => {
      await sh(`tar -C '${source}' -c --format=posix . | tar -x --delay-directory-restore`, place.root);
      await expectCopy(place.root);
    });

    test.skipIf(!has('rsync'))('rsync -a', async () => {
      await run('rsync', ['-a', `${source}/`, place.root]);
      await expectCopy(place.root);
      if (deviates('mtime')) return;
      const { stdout } = await run('rsync', ['-ai', `${source}/`, place.root]);
      expect(stdout).toBe('');
    });

    test.skipIf(!has('git'))('git', async () => {
      const id = '-c user.name=a -c user.email=a@b -c init.defaultBranch=main';
      await sh(
        `git ${id} init -q && cp -r '${source}/a' . && git add . && git ${id} commit -qm one`,
        place.root,
      );
      expect(await sh('git fsck && git status --porcelain', place.root)).toBe('');
      await sh('git rm -qr a/b && git stash -q 2>/dev/null || git reset -q --hard', place.root);
      expect((await fs.readdir(at('a/b'))).length).toBe(100);
    });
  });
}
