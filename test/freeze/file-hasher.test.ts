import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import type * as FileHasherModule from '../../src/freeze/file-hasher.ts';
import { FREEZE_READ_BYTES } from '../../src/limits.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { compileProgram } from '../support/run-typescript.ts';
import { fileAt, inlineHasher, scratch } from './support.ts';

/** Compiled: Node 20 runs no TypeScript in a thread. */
const program = await compileProgram(join(import.meta.dirname, '../../src/freeze/file-hasher.ts'));
const { ThreadedFileHasher }: typeof FileHasherModule = await import(program.path);
afterAll(program.remove);

const { signal } = new AbortController();
const hasher = new ThreadedFileHasher();
afterEach(async () => hasher.close());

const SIZES = [0, 1, FREEZE_READ_BYTES - 1, FREEZE_READ_BYTES, 3 * FREEZE_READ_BYTES + 7];

test.each(SIZES)('finds the MD5s of %i bytes and of their parts', async (size) => {
  const path = join(await scratch(), 'file');
  await writeFile(path, randomBytesOf(size + 1, size));
  expect(await hasher.md5(fileAt(path), signal)).toBe(await inlineHasher.md5(fileAt(path), signal));
  for (const partBytes of [1_000_003, FREEZE_READ_BYTES, 2 * FREEZE_READ_BYTES + 1, size + 1]) {
    const { md5, partMd5s } = await hasher.md5OfParts(fileAt(path), partBytes, signal);
    expect({ md5, partMd5s: Buffer.from(partMd5s) }, `parts of ${partBytes}`).toEqual(
      await inlineHasher.md5OfParts(fileAt(path), partBytes, signal),
    );
  }
});

test('answers each of several that ask at once, and goes on after a file that cannot be read', async () => {
  const directory = await scratch();
  const paths = ['a', 'b', 'c', 'd'].map((name) => join(directory, name));
  for (const path of paths) await writeFile(path, path);
  await expect(hasher.md5(fileAt(join(directory, 'missing')), signal)).rejects.toThrow(
    /missing can't be read: ENOENT/,
  );
  const digests = await Promise.all(paths.map(async (path) => hasher.md5(fileAt(path), signal)));
  expect(digests).toEqual(
    await Promise.all(paths.map(async (path) => inlineHasher.md5(fileAt(path), signal))),
  );
});

test('who gives up hears of it at once, and the next one gets its own answer', async () => {
  const path = join(await scratch(), 'file');
  await writeFile(path, randomBytesOf(1, 20 * FREEZE_READ_BYTES));
  const giveUp = new AbortController();
  const given = hasher.md5(fileAt(path), giveUp.signal);
  giveUp.abort();
  await expect(given).rejects.toThrow('aborted');
  await appendFile(path, 'more');
  expect(await hasher.md5(fileAt(path), signal)).toBe(await inlineHasher.md5(fileAt(path), signal));
});
