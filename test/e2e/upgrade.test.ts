import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MANIFEST_SMALL_BYTES } from '../../src/limits.ts';
import { datasetOf } from '../support/datasets.ts';
import { mountObstacle, User } from '../support/mounted.ts';
import { createEmbeddedBucket } from '../support/test-bucket.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');

test.skipIf(mountObstacle !== undefined).each(['auto', 'worker'])(
  'a mount goes on when its program is removed, as an upgrade does (receive mode %s)',
  async (receive) => {
    const bucket = await createEmbeddedBucket();
    const user = await User.create(bucket.env);
    const program = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-program-'));
    const path = join(user.home, 'mnt');
    await mkdir(path);
    await cp(join(REPOSITORY, 'dist'), join(program, 'dist'), { recursive: true });
    await cp(join(REPOSITORY, 'package.json'), join(program, 'package.json'));
    await symlink(join(REPOSITORY, 'node_modules'), join(program, 'node_modules'));
    const items = Object.fromEntries(Array.from({ length: 700 }, (_, n) => [`item-${n}`, `${n}`]));
    await bucket.putDataset(datasetOf('set', items));
    try {
      const mounted = await user.exec(
        process.execPath,
        join(program, 'dist/cli.js'),
        ...['mount', bucket.bucket, path, '--receive', receive],
      );
      expect(mounted).toMatchObject({ exitCode: 0 });
      await rm(program, { recursive: true });

      expect((await user.exec('ls', join(path, 'set/data'))).stdout.split('\n').length).toBe(701);
      const manifest = await readFile(join(path, 'set/.dtool/manifest.json'));
      // Of this size it is parsed in a thread.
      expect(manifest.length).toBeGreaterThan(MANIFEST_SMALL_BYTES);
      expect((await user.exec('cat', join(path, 'set/data/item-7'))).stdout).toBe('7');
      await user.exec('cp', '-r', join(path, 'set/data'), join(path, 'staging/new'));
      // A README that is made, one that is looked at, and files that are hashed.
      const frozen = await user.run('freeze', join(path, 'staging/new'), '--json');
      expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
      expect((await user.exec('cat', join(path, 'new/data/item-7'))).stdout).toBe('7');
      expect((await user.run('status')).stdout).toContain(path);
      expect(await user.run('umount', path)).toMatchObject({ exitCode: 0 });
    } finally {
      await user.unmount(path);
      await user.remove();
      await bucket.close();
      await rm(program, { recursive: true, force: true });
    }
  },
);
