import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decorate, type StoreRequest } from '../../src/ecs/decorated-object-store.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { base64, folderOf, freezeTo, onlyDataset, readBack } from './support.ts';

const FILES = { a: 'aaa', 'b/c': 'ccc', 'd.bin': Buffer.alloc(2 << 20, 7), 'README.yml': 'x: 1\n' };

class Crash extends Error {}

/** A store that a process loses at its nth request, just before or just after it is carried out. */
function crashing(
  store: ObjectStore,
  at: number,
  moment: 'before' | 'after',
  seen: StoreRequest[],
): ObjectStore {
  let requests = 0;
  return decorate(store, async (request, run) => {
    requests += 1;
    if (requests > at || (requests === at && moment === 'before')) throw new Crash();
    const result = await run();
    seen.push(request);
    if (requests >= at) throw new Crash();
    return result;
  });
}

const itemPuts = (requests: readonly StoreRequest[]): string[] =>
  requests
    .filter(({ operation, key }) => operation === 'put' && key.includes('/data/'))
    .map(({ key }) => key);

for (const moment of ['before', 'after'] as const) {
  test(`a crash ${moment} any request: the next freeze ends in the same, one, whole dataset`, async () => {
    let crashes = 0;
    for (let at = 1; ; at += 1) {
      const memory = new MemoryObjectStore();
      const directory = await folderOf(FILES);
      const first: StoreRequest[] = [];
      const outcome = await freezeTo(crashing(memory, at, moment, first), directory).catch(
        (error: unknown) => error,
      );
      if (!(outcome instanceof Crash)) {
        expect(outcome).toMatchObject({ outcome: 'frozen' });
        break;
      }
      crashes += 1;
      const registered = memory.keys.find((key) => key.startsWith('dtool-'));
      const second: StoreRequest[] = [];
      await freezeTo(crashing(memory, Infinity, 'after', second), directory);
      const entry = await onlyDataset(memory);
      if (registered !== undefined) expect(`dtool-${entry.uuid}`).toBe(registered);
      expect(entry.admin.type).toBe('dataset');
      const found = await readBack(memory, entry);
      expect(Object.fromEntries(found)).toEqual({
        a: base64('aaa'),
        'b/c': base64('ccc'),
        'd.bin': base64(FILES['d.bin']),
      });
      // No item twice, no key too many.
      const puts = [...itemPuts(first), ...itemPuts(second)];
      expect(new Set(puts).size).toBe(puts.length);
      expect(memory.keys).toHaveLength(1 + 5 + 3);
      expect(await freezeTo(memory, directory)).toMatchObject({
        outcome: 'already-frozen',
        uuid: entry.uuid,
      });
      await rm(directory, { recursive: true });
    }
    expect(crashes).toBe(11);
  });
}

test('a folder that changed after the crash: what it has no more goes, what is new comes', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf({ a: 'aaa', b: 'bbb', c: 'ccc' });
  // GET, registration, structure, README.txt, admin, README.yml, and the three items.
  await expect(freezeTo(crashing(memory, 9, 'after', []), directory)).rejects.toThrow(Crash);
  await rm(join(directory, 'a'));
  await writeFile(join(directory, 'b'), 'BBB');
  await writeFile(join(directory, 'new'), 'n');
  const puts = memory.requests.put;
  const result = await freezeTo(memory, directory);
  expect(result).toMatchObject({ outcome: 'frozen', resumed: true, uploadedItems: 2 });
  const entry = await onlyDataset(memory);
  expect(
    [...(await readBack(memory, entry))]
      .map(([name, body]) => `${name}=${Buffer.from(body, 'base64').toString()}`)
      .toSorted(),
  ).toEqual(['b=BBB', 'c=ccc', 'new=n']);
  expect(memory.keys.filter((key) => key.includes('/data/'))).toHaveLength(3);
  expect(memory.requests.put - puts).toBeLessThanOrEqual(2 + 6);
});

test('stores whose ETags are no MD5: what is there is found by its metadata', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf({ a: 'aaa', b: 'bbb' });
  await expect(freezeTo(crashing(memory, 7, 'after', []), directory)).rejects.toThrow(Crash);
  const encrypted: ObjectStore = {
    ...decorate(memory, (_request, run) => run()),
    listPage: async (query, options) => {
      const page = await memory.listPage(query, options);
      return { ...page, objects: page.objects.map((object) => ({ ...object, etag: 'opaque' })) };
    },
  };
  const present = memory.keys.filter((key) => key.includes('/data/')).length;
  expect(present).toBeGreaterThanOrEqual(1);
  expect(await freezeTo(encrypted, directory)).toMatchObject({ uploadedItems: 2 - present });
});

test('stopped by its signal: nothing is lost', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf({ a: 'aaa', b: 'bbb' });
  const stop = new AbortController();
  const onProgress = ({ items, phase }: { items: number; phase: string }): void => {
    if (phase === 'uploading' && items === 1) stop.abort();
  };
  await expect(freezeTo(memory, directory, { signal: stop.signal, onProgress })).rejects.toThrow('aborted');
  expect(await freezeTo(memory, directory)).toMatchObject({ outcome: 'frozen', resumed: true });
  expect((await readBack(memory, await onlyDataset(memory))).size).toBe(2);
});

test('two at once: the second is told who the first is', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf({ a: 'aaa' });
  const gate = memory.hold('put');
  const first = freezeTo(memory, directory);
  await gate.reached();
  await expect(freezeTo(memory, directory)).rejects.toThrow(
    `process ${process.pid} is freezing this directory`,
  );
  gate.release();
  expect(await first).toMatchObject({ outcome: 'frozen' });
});
