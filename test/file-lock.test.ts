import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileLock } from '../src/file-lock.ts';
import { FreezeJournal } from '../src/freeze/journal.ts';

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-lock-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Another process that has a lock; resolves when it has it. */
async function holderOf(path: string): Promise<{ end: () => Promise<void> }> {
  const child = spawn('flock', ['-n', path, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const end = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  onTestFinished(end);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return { end };
}

test('one at a time, in one process as well, and again after the end', async () => {
  const path = join(await directory(), 'lock');
  const first = await FileLock.take(path, 'first', '');
  expect(await FileLock.take(path, 'second', '')).toEqual({ heldBy: 'first' });
  if (!(first instanceof FileLock)) throw new Error('not taken');
  await first.release();
  const second = await FileLock.take(path, 'second', '');
  if (!(second instanceof FileLock)) throw new Error('not taken');
  expect(await readFile(path, 'utf8')).toBe('second');
  await second.remove();
  expect(await readdir(join(path, '..'))).toEqual([]);
});

test('a file that was removed and made again is locked anew, and its holder is let alone', async () => {
  const path = join(await directory(), 'lock');
  const first = await FileLock.take(path, 'first', '');
  await rm(path);
  const second = await FileLock.take(path, 'second', '');
  if (!(first instanceof FileLock) || !(second instanceof FileLock)) throw new Error('not taken');
  await first.remove();
  expect(await FileLock.take(path, 'third', '')).toEqual({ heldBy: 'second' });
  await second.remove();
});

test('of many at once one has it', async () => {
  const path = join(await directory(), 'lock');
  for (let round = 0; round < 3; round += 1) {
    const taken = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => FileLock.take(path, `${index}`, '')),
    );
    const locks = taken.filter((lock) => lock instanceof FileLock);
    expect(locks).toHaveLength(1);
    for (const lock of locks) await lock.remove();
  }
});

test('a symbolic link in its place is not followed', async () => {
  const folder = await directory();
  await writeFile(join(folder, 'precious'), 'precious');
  await symlink('precious', join(folder, 'lock'));
  await expect(FileLock.take(join(folder, 'lock'), 'words', '')).rejects.toThrow('ELOOP');
  expect(await readFile(join(folder, 'precious'), 'utf8')).toBe('precious');
});

test('the lock of a journal whose holder this machine does not know is not taken from it', async () => {
  const folder = await directory();
  const journal = new FreezeJournal(folder, {
    directory: '/data',
    endpoint: 'http://store',
    bucket: 'bucket',
  });
  await (await journal.lock()).release();
  const path = journal.path.replace(/json$/, 'lock');
  const holder = await holderOf(path);
  // As a process of another host or pid namespace writes it: /proc has none of that number.
  await writeFile(path, JSON.stringify({ pid: 4_194_305, host: 'elsewhere' }));
  await expect(journal.lock()).rejects.toMatchObject({
    message: 'process 4194305 on elsewhere is freezing this directory already',
    advice: expect.stringContaining('nothing is uploaded twice'),
  });
  await holder.end();
  // What a holder that was killed has written is no obstacle.
  await (await journal.lock()).release();
  expect(await readdir(folder)).toEqual([]);
});
