import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FreezeJournal } from '../../src/freeze/journal.ts';
import { StagedBuckets } from '../../src/freeze/staged-buckets.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { FakeFolder, freezesOf } from './staged.ts';
import { scratch } from './support.ts';

test('the journal of a folder that is frozen and removed goes with the next mount, and no other', async () => {
  const directory = await scratch();
  const area = join(directory, 'area');
  const journals = join(directory, 'journals');
  const store = new MemoryObjectStore();
  const kept = new FakeFolder(join(area, 'folders/kept'));
  await mkdir(kept.path, { recursive: true });
  const journal = async (path: string, state: 'frozen' | 'failed', bucket = store.bucket): Promise<void> => {
    const subject = { directory: path, endpoint: 'http://store.example', bucket };
    const entry = { version: 1, state, createdAt: 0, keep: true, ...subject } as const;
    await new FreezeJournal(journals, subject).write(entry);
  };
  await journal(join(area, 'folders/removed'), 'frozen');
  await journal(join(area, 'folders/unfinished'), 'failed');
  await journal(kept.path, 'frozen');
  await journal(`${area}-of-another`, 'frozen');
  await journal('/home/ada/results', 'frozen');
  await journal(join(area, 'folders/elsewhere'), 'frozen', 'another-bucket');

  const freezes = freezesOf(store, kept, { journals });
  const buckets = new StagedBuckets(
    new Map([[store.bucket, { freezes, area, folders: () => [kept] }]]),
    journals,
  );
  await buckets.recover();
  const left = await Promise.all(
    (await readdir(journals)).map(async (name) => JSON.parse(await readFile(join(journals, name), 'utf8'))),
  );
  expect(left.map((entry: { directory: string }) => entry.directory).toSorted()).toEqual(
    [
      join(area, 'folders/unfinished'),
      kept.path,
      `${area}-of-another`,
      '/home/ada/results',
      join(area, 'folders/elsewhere'),
    ].toSorted(),
  );
});
