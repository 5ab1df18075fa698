import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeDirectories } from '../src/make-directories.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'make-directories-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

test('makes what is missing, private, and leaves what is there', async () => {
  const path = join(directory, 'a/b/c');
  await Promise.all([makeDirectories(path), makeDirectories(path)]);
  for (const made of ['a', 'a/b', 'a/b/c']) {
    expect((await stat(join(directory, made))).mode & 0o777).toBe(0o700);
  }
  await mkdir(join(directory, 'open'));
  const before = await stat(join(directory, 'open'));
  await makeDirectories(join(directory, 'open'));
  expect((await stat(join(directory, 'open'))).mode).toBe(before.mode);
  await symlink('open', join(directory, 'link'));
  await makeDirectories(join(directory, 'link/below'));
  expect((await stat(join(directory, 'open/below'))).isDirectory()).toBe(true);
});

test('a file in the way, a link that leads nowhere, and a file system that makes none are errors', async () => {
  await writeFile(join(directory, 'file'), '');
  await expect(makeDirectories(join(directory, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeDirectories(join(directory, 'file/a/b'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  await symlink('missing', join(directory, 'link'));
  await expect(makeDirectories(join(directory, 'link'))).rejects.toMatchObject({ code: 'ENOENT' });
  await expect(makeDirectories(join(directory, 'link/a'))).rejects.toMatchObject({ code: 'ENOENT' });
  // Node's recursive mkdir never ends here.
  for (const path of ['/proc/none', '/proc/none/a/b']) {
    await expect(makeDirectories(path)).rejects.toMatchObject({ code: 'ENOENT' });
  }
});
