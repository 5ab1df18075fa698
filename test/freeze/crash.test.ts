import { rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decorate, type StoreRequest } from '../../src/ecs/decorated-object-store.ts';
import { renderStructure } from '../../src/ecs/dtool/structure.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { base64, folderOf, freezeTo, onlyDataset, readBack, uuidOf } from './support.ts';

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
    expect(crashes).toBe(15);
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

test('what is lost after the commit: found at the next freeze, which sends that and nothing else', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  const { uuid } = await freezeTo(memory, directory);
  const entry = await onlyDataset(memory);
  const lost = [`${uuid}/README.yml`, ...memory.keys.filter((key) => key.includes('/data/')).slice(0, 1)];
  const before = memory.keys;
  for (const key of lost) memory.remove(key);
  // Of the same size.
  const [other = ''] = memory.keys.filter((key) => key.includes('/data/'));
  memory.seed(other, Buffer.alloc(memory.peek(other)?.length ?? 0));
  await utimes(join(directory, 'a'), 1, 1);
  const made: StoreRequest[] = [];
  const seen = crashing(memory, Infinity, 'after', made);
  await expect(freezeTo(seen, directory, { onlyFinish: true })).rejects.toThrow(
    `dataset ${uuid} in bucket bucket was committed, but 3 objects are missing or changed, such as ${uuid}/`,
  );
  expect(await freezeTo(seen, directory)).toMatchObject({ outcome: 'frozen', uuid, uploadedItems: 2 });
  const puts = made.filter(({ operation }) => operation === 'put').map(({ key }) => key);
  expect(puts.toSorted()).toEqual([...lost, other].toSorted());
  expect(memory.keys).toEqual(before);
  expect(await onlyDataset(memory)).toMatchObject({ uuid, admin: entry.admin });
  expect((await readBack(memory, entry)).get('a')).toBe(base64('aaa'));
  const requests = memory.requestCount;
  expect(await freezeTo(memory, directory)).toMatchObject({ outcome: 'already-frozen', uuid });
  // Which dataset it is, twice, and the list between.
  expect(memory.requestCount - requests).toBe(5);
});

test('a store that loses an item at the commit: the freeze does not say that it is frozen', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  let isLost = false;
  const losing = decorate(memory, async ({ operation, key }, run) => {
    const result = await run();
    const [item = ''] = memory.keys.filter((name) => name.includes('/data/'));
    if (!isLost && operation === 'put' && key.endsWith('/dtool') && memory.keys.length === 9) {
      isLost = true;
      memory.remove(item);
    }
    return result;
  });
  await expect(freezeTo(losing, directory)).rejects.toMatchObject({
    message: expect.stringMatching(/was committed, but 1 object is missing or changed, such as .*\/data\//),
    advice: 'Freeze it again: only that is sent.',
  });
  expect(await freezeTo(losing, directory)).toMatchObject({ outcome: 'frozen', uploadedItems: 1 });
  expect((await readBack(memory, await onlyDataset(memory))).size).toBe(3);
});

test('a dataset of dtool that is being frozen elsewhere: the second is told so and leaves nothing', async () => {
  const memory = new MemoryObjectStore();
  const uuid = uuidOf('11111111-2222-4333-8444-555555555555');
  const admin = {
    uuid,
    dtoolcore_version: '3.18.2',
    name: 'copied',
    type: 'protodataset',
    creator_username: 'ada',
  };
  const copy = async (): Promise<string> =>
    folderOf({
      'data/a': 'aaa',
      'README.yml': 'a: 1\n',
      '.dtool/dtool': JSON.stringify({ ...admin, created_at: 1 }),
      '.dtool/structure.json': renderStructure(uuid),
    });
  const [first, second] = [await copy(), await copy()];
  await expect(freezeTo(crashing(memory, 8, 'after', []), first)).rejects.toThrow(Crash);
  const before = memory.keys;
  await expect(freezeTo(memory, second)).rejects.toMatchObject({
    message: expect.stringMatching(/is being frozen from elsewhere \(process \d+ on /),
    advice: expect.stringContaining(`discard ${uuid} --bucket bucket`),
  });
  expect(memory.keys).toEqual(before);
  expect(await freezeTo(memory, first)).toMatchObject({ outcome: 'frozen', resumed: true });
  expect(memory.keys.filter((key) => key.includes('/freeze/'))).toEqual([]);
  await expect(freezeTo(memory, second)).rejects.toThrow('has a frozen dataset');
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
