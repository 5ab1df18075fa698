import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MANIFEST_SMALL_BYTES } from '../../src/limits.ts';
import { datasetOf } from '../support/datasets.ts';
import { mountObstacle, User } from '../support/mounted.ts';
import { createEmbeddedBucket } from '../support/test-bucket.ts';

const REPOSITORY = resolve(import.meta.dirname, '../..');

/** Copies the program with the packages that users have, so that nothing of it is left when the copy is removed. */
async function copyProgram(to: string): Promise<void> {
  const { packages }: { packages: Readonly<Record<string, { dev?: boolean; devOptional?: boolean }>> } =
    JSON.parse(await readFile(join(REPOSITORY, 'package-lock.json'), 'utf8'));
  const used = Object.entries(packages).flatMap(([name, { dev, devOptional }]) =>
    name === '' || dev || devOptional || !existsSync(join(REPOSITORY, name)) ? [] : [name],
  );
  for (const name of ['dist', 'package.json', ...used])
    await cp(join(REPOSITORY, name), join(to, name), { recursive: true });
}

test('a mount loads nothing when it runs but what its start has loaded', async () => {
  const later = new Set<string>();
  const seen = new Set<string>();
  const look = async (name: string): Promise<void> => {
    if (seen.has(name)) return;
    seen.add(name);
    const code = await readFile(join(REPOSITORY, 'dist', name), 'utf8');
    for (const [, target = ''] of code.matchAll(/\bimport\("([^"]+)"\)/g)) later.add(target);
    for (const [, target = ''] of code.matchAll(/\b(?:from|import) "\.\/([^"]+)"/g)) await look(target);
  };
  await look('background-process.js');
  expect(seen.size).toBeGreaterThan(5);
  // Both are loaded before the mount is there: by the transport, or for the staging area.
  expect([...later].toSorted((a, b) => a.localeCompare(b))).toEqual(['fuse-native', 'koffi']);
});

test.skipIf(mountObstacle !== undefined).each([
  ['--receive', 'worker'],
  ['--transport', 'fuse-native'],
])(
  'a mount goes on when its program and all packages are removed, as an upgrade does (%s %s)',
  { timeout: 120_000 },
  async (option, value) => {
    const bucket = await createEmbeddedBucket();
    const user = await User.create(bucket.env);
    const program = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-program-'));
    const path = join(user.home, 'mnt');
    await mkdir(path);
    await copyProgram(program);
    const items = Object.fromEntries(Array.from({ length: 700 }, (_, n) => [`item-${n}`, `${n}`]));
    await bucket.putDataset(datasetOf('set', items));
    try {
      const mounted = await user.exec(
        process.execPath,
        join(program, 'dist/cli.js'),
        ...['mount', bucket.bucket, path, option, value],
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
