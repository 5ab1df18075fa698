import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makePrivateDirectory, openPrivateFile, openPrivateFileHandle } from '../src/private-files.ts';
import { NOBODY } from './support/nobody.ts';

let above: string;
beforeEach(async () => {
  above = await mkdtemp(join(tmpdir(), 'private-files-'));
});
afterEach(() => rm(above, { recursive: true }));

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o7777;

describe('a private directory', () => {
  test('is made, with those above it', async () => {
    await makePrivateDirectory(join(above, 'a/b'));
    expect(await modeOf(join(above, 'a'))).toBe(0o700);
    expect(await modeOf(join(above, 'a/b'))).toBe(0o700);
  });

  test.each([0o755, 0o750, 0o770, 0o711])('that is there is closed to others: from %o', async (mode) => {
    const path = join(above, 'ours');
    await mkdir(path);
    await writeFile(join(path, 'kept'), 'kept');
    await chmod(path, mode);
    await makePrivateDirectory(path);
    expect(await modeOf(path)).toBe(0o700);
    expect(await readFile(join(path, 'kept'), 'utf8')).toBe('kept');
  });

  test('may be reached by a link', async () => {
    await mkdir(join(above, 'real'), { mode: 0o755 });
    await symlink(join(above, 'real'), join(above, 'link'));
    await makePrivateDirectory(join(above, 'link'));
    expect(await modeOf(join(above, 'real'))).toBe(0o700);
  });

  test('is none when everybody could have filled or replaced it', async () => {
    const path = join(above, 'ours');
    await mkdir(path);
    await chmod(path, 0o1777);
    await expect(makePrivateDirectory(path)).rejects.toThrow(`everybody may write to ${path}`);
    expect(await modeOf(path)).toBe(0o1777);
    await chmod(path, 0o700);
    await chmod(above, 0o777);
    await expect(makePrivateDirectory(path)).rejects.toThrow('everybody may put something else');
    await chmod(above, 0o1777);
    await makePrivateDirectory(path);
  });

  test.skipIf(process.getuid?.() !== 0)('is none when it is somebody else’s', async () => {
    const path = join(above, 'ours');
    await mkdir(path);
    await chown(path, NOBODY, NOBODY);
    await expect(makePrivateDirectory(path)).rejects.toThrow(`${path} belongs to another user (${NOBODY})`);
  });
});

test('a private file is made, appended to, and closed to others', async () => {
  const path = join(above, 'file');
  for (const mode of [0o600, 0o644, 0o666]) {
    const file = openPrivateFile(path);
    writeSync(file, 'x');
    closeSync(file);
    expect(await modeOf(path)).toBe(0o600);
    await chmod(path, mode);
  }
  expect(await readFile(path, 'utf8')).toBe('xxx');
});

const OPENERS = {
  openPrivateFile: async (path: string) => closeSync(openPrivateFile(path)),
  openPrivateFileHandle: async (path: string) => (await openPrivateFileHandle(path)).close(),
};

describe.each(Object.entries(OPENERS))('where others may write, a private file by %s', (_, opening) => {
  const isRoot = process.getuid?.() === 0;
  beforeEach(() => chmod(above, 0o777));
  const path = (): string => join(above, 'file');

  test('is made', async () => {
    await opening(path());
    expect(await modeOf(path())).toBe(0o600);
  });

  test('is no link, wherever it leads', async () => {
    await writeFile(join(above, 'mine'), 'mine');
    await symlink('mine', path());
    await expect(opening(path())).rejects.toThrow('is a symbolic link or a pipe');
    await chmod(above, 0o700);
    await opening(path());
  });

  test('is no pipe, whether or not somebody reads it, and nothing waits for that', async () => {
    execFileSync('mkfifo', [path()]);
    await expect(opening(path())).rejects.toThrow('is a symbolic link or a pipe');
    const reader = openSync(path(), constants.O_RDONLY | constants.O_NONBLOCK);
    await expect(opening(path())).rejects.toThrow('is no regular file');
    closeSync(reader);
  });

  test.skipIf(!isRoot)(`is not somebody else’s${isRoot ? '' : ' [skipped: not root]'}`, async () => {
    await writeFile(path(), '');
    await chmod(path(), 0o600);
    await chown(path(), NOBODY, NOBODY);
    await expect(opening(path())).rejects.toThrow(`belongs to another user (${NOBODY})`);
  });
});
