import { appendFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FileHasher } from '../../src/freeze/file-hasher.ts';
import { RememberingFileHasher } from '../../src/freeze/remembering-hasher.ts';
import { MiB } from '../../src/limits.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { fileAt, inlineHasher, scratch, writeTree } from './support.ts';

const { signal } = new AbortController();

async function hashing(): Promise<{ hasher: RememberingFileHasher; hashed: string[]; path: string }> {
  const directory = await scratch();
  await writeTree(directory, { large: Buffer.alloc(2 * MiB, 1), small: 'small' });
  const hashed: string[] = [];
  const counting: FileHasher = {
    ...inlineHasher,
    md5: async (file, given) => {
      hashed.push(file.path);
      return inlineHasher.md5(file, given);
    },
  };
  return {
    hasher: new RememberingFileHasher(counting, new InstantClock()),
    hashed,
    path: join(directory, 'large'),
  };
}

test('what was written and left alone is hashed once, beforehand', async () => {
  const { hasher, hashed, path } = await hashing();
  hasher.prepare(fileAt(path));
  hasher.prepare(fileAt(path));
  await hasher.settled();
  expect(hashed).toEqual([path]);
  expect(await hasher.md5(fileAt(path), signal)).toBe(await inlineHasher.md5(fileAt(path), signal));
  hasher.prepare(fileAt(path));
  await hasher.settled();
  expect(hashed).toEqual([path]);
});

test('what has changed since is hashed anew, even with the size and time of before', async () => {
  const { hasher, hashed, path } = await hashing();
  await utimes(path, 1, 1);
  hasher.prepare(fileAt(path));
  await hasher.settled();
  await writeFile(path, Buffer.alloc(2 * MiB, 2));
  await utimes(path, 1, 1);
  expect(await hasher.md5(fileAt(path), signal)).toBe(await inlineHasher.md5(fileAt(path), signal));
  expect(hashed).toEqual([path, path]);
});

test('what changes while it is hashed is not remembered', async () => {
  const { path, hashed } = await hashing();
  const changing: FileHasher = {
    ...inlineHasher,
    md5: async (name, given) => {
      const md5 = await inlineHasher.md5(name, given);
      hashed.push(md5);
      await appendFile(path, 'more');
      return md5;
    },
  };
  const hasher = new RememberingFileHasher(changing, new InstantClock());
  hasher.prepare(fileAt(path));
  await hasher.settled();
  await hasher.md5(fileAt(path), signal);
  expect(hashed).toHaveLength(2);
  expect(hashed[0]).not.toBe(hashed[1]);
});

test('small files, files that are gone, and the end', async () => {
  const { hasher, hashed, path } = await hashing();
  hasher.prepare(fileAt(join(path, '../small')));
  hasher.prepare(fileAt(join(path, '../missing')));
  await hasher.settled();
  expect(hashed).toEqual([]);
  hasher.prepare(fileAt(path));
  await hasher.close();
  hasher.prepare(fileAt(path));
  await hasher.settled();
  await rm(path);
  await expect(hasher.md5(fileAt(path), signal)).rejects.toThrow('ENOENT');
});
