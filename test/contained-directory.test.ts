import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ContainedDirectory, openBeneath, SymbolicLinkError } from '../src/contained-directory.ts';
import { hasErrorCode } from '../src/errors.ts';
import { CONTAINED_DIRECTORIES_MAX } from '../src/limits.ts';

/** A directory `in` beside a directory `out` that has a secret at each place where `in` has something harmless. */
async function place(): Promise<{ readonly top: string; readonly inside: string; readonly outside: string }> {
  const top = await mkdtemp(join(tmpdir(), 'contained-'));
  onTestFinished(() => rm(top, { recursive: true }));
  for (const [name, content] of [
    ['in', 'harmless'],
    ['out', 'secret'],
  ] as const) {
    await mkdir(join(top, name, 'a/b'), { recursive: true });
    await writeFile(join(top, name, 'a/b/file'), content);
  }
  return { top, inside: join(top, 'in'), outside: join(top, 'out') };
}

async function opened(path: string): Promise<ContainedDirectory> {
  const directory = await ContainedDirectory.open(path);
  onTestFinished(async () => directory[Symbol.asyncDispose]());
  return directory;
}

async function read(directory: ContainedDirectory, path: string): Promise<string> {
  await using file = await directory.openFile(path);
  return await file.readFile('utf8');
}

/** Descriptors of this process that lead to somewhere below a path. */
async function descriptorsBelow(path: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map(async (fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith(path)).length;
}

test('follows links that stay inside, and no other', async () => {
  const { inside, outside, top } = await place();
  const links: Readonly<Record<string, readonly [target: string, resolved: string | undefined]>> = {
    relative: ['a/b', 'a/b'],
    absolute: [join(inside, 'a'), 'a'],
    around: ['../in/a', 'a'],
    far: [`../../${top.slice(tmpdir().length + 1)}/in/a`, 'a'],
    chain: ['relative/../b', 'a/b'],
    self: ['.', ''],
    up: ['..', undefined],
    out: ['../out/a', undefined],
    'out-absolute': [outside, undefined],
    beside: [`${inside}side`, undefined],
    process: ['/proc/self/root', undefined],
  };
  for (const [name, [target]] of Object.entries(links)) await symlink(target, join(inside, name));
  await symlink(inside, join(top, 'alias'));
  await symlink(join(top, 'alias/a'), join(inside, 'by-alias'));
  await symlink('round', join(inside, 'round'));
  const directory = await opened(join(top, 'alias'));
  expect(directory.path).toBe(inside);
  for (const [name, [, resolved]] of Object.entries(links))
    expect(await directory.resolve(name), name).toBe(resolved);
  expect(await directory.resolve('by-alias/b/file')).toBe('a/b/file');
  await expect(directory.resolve('round')).rejects.toThrow('too many');
  expect(await read(directory, 'chain/file')).toBe('harmless');
  for (const name of ['out/b/file', 'out-absolute/a/b/file', 'up/out/a/b/file'])
    await expect(read(directory, name)).rejects.toThrow(SymbolicLinkError);
  for (const name of ['relative/file', 'out/b/file', 'self'])
    await expect(directory.openPlain(name)).rejects.toThrow(SymbolicLinkError);
  await expect(directory.readDirectory('out')).rejects.toThrow(SymbolicLinkError);
  await expect(directory.openPlain('a/b/file/x')).rejects.toMatchObject({ code: 'ENOTDIR' });
  await expect(directory.openPlain('a/none/x')).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await openBeneath(inside, join(inside, 'a/b/file')).then((file) => file.close())).toBeUndefined();
});

test('goes on in the directory that was opened when another takes its place', async () => {
  const { inside, outside } = await place();
  const directory = await opened(inside);
  await rename(inside, `${inside}-was`);
  await symlink(outside, inside);
  expect(await read(directory, 'a/b/file')).toBe('harmless');
});

test('keeps few directories open, and none in the end', async () => {
  const { inside } = await place();
  for (let number = 0; number < 3 * CONTAINED_DIRECTORIES_MAX; number += 1) {
    await mkdir(join(inside, `many/${number}`), { recursive: true });
    await writeFile(join(inside, `many/${number}/file`), `${number}`);
  }
  const directory = await ContainedDirectory.open(inside);
  const all = Array.from({ length: 3 * CONTAINED_DIRECTORIES_MAX }, (_, number) => number);
  const reading = all.map(async (number) => read(directory, `many/${number}/file`));
  expect(await Promise.all(reading)).toEqual(all.map(String));
  await expect.poll(() => descriptorsBelow(inside)).toBeLessThanOrEqual(CONTAINED_DIRECTORIES_MAX + 1);
  const late = read(directory, 'many/0/file');
  await directory[Symbol.asyncDispose]();
  expect(await late).toBe('0');
  await expect(read(directory, 'many/0/file')).rejects.toThrow('was closed');
  await expect.poll(() => descriptorsBelow(inside)).toBe(0);
});

/** Puts a link into the place of a directory and takes it away again, as fast as it can. */
const SWAPPER = `
  const { renameSync } = require('node:fs');
  const [, a, link, aside] = process.argv;
  for (;;) {
    renameSync(a, aside); renameSync(link, a);
    renameSync(a, link); renameSync(aside, a);
  }`;

test('opens nothing outside while another process swaps a directory for a link', async () => {
  const { inside, outside, top } = await place();
  await symlink(join(outside, 'a'), join(top, 'link'));
  const swapper = spawn(process.execPath, [
    '-e',
    SWAPPER,
    join(inside, 'a'),
    join(top, 'link'),
    join(top, 'aside'),
  ]);
  const gone = once(swapper, 'exit');
  try {
    const seen = new Map<string, number>();
    const has = (name: string): boolean => (seen.get(name) ?? 0) >= 50;
    while (!has('harmless') || !has('refused')) {
      // Anew each time, or the directory would be open already.
      await using directory = await ContainedDirectory.open(inside);
      const found = await read(directory, 'a/b/file').catch((error: unknown) => {
        if (error instanceof SymbolicLinkError) return 'refused';
        if (hasErrorCode(error, 'ENOENT') || hasErrorCode(error, 'ENOTDIR')) return 'missing';
        throw error;
      });
      expect(found).not.toBe('secret');
      seen.set(found, (seen.get(found) ?? 0) + 1);
    }
  } finally {
    swapper.kill('SIGKILL');
    await gone;
  }
});
