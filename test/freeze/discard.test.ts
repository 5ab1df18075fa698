import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decorate } from '../../src/ecs/decorated-object-store.ts';
import type { DatasetUuid } from '../../src/ecs/dtool/keys.ts';
import { type ObjectStore, StoreError } from '../../src/ecs/object-store.ts';
import { discardDataset, findRemains } from '../../src/freeze/discard.ts';
import { FreezeJournal } from '../../src/freeze/journal.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { FakeFolder, freezesOf, journalNames, journalsOf } from './staged.ts';
import { folderOf, freezeTo, onlyDataset } from './support.ts';

const FILES = { a: 'aaa', b: 'bbb', c: 'ccc' };

/** A bucket in which a freeze has come to its first item, and the uuid of that. */
async function abandoned(): Promise<{ memory: MemoryObjectStore; folder: FakeFolder; uuid: DatasetUuid }> {
  const memory = new MemoryObjectStore();
  const folder = new FakeFolder(await folderOf(FILES));
  const failing = decorate(memory, async ({ operation, key }, run) => {
    const result = await run();
    if (operation === 'put' && key.includes('/data/'))
      throw new StoreError('unreachable', { bucket: 'bucket', key }, 'no route');
    return result;
  });
  await expect(freezesOf(failing, folder).freeze(folder)).rejects.toThrow('no route');
  return { memory, folder, uuid: (await onlyDataset(memory)).uuid };
}

test('what an abandoned freeze left is told, and goes: the registration key last', async () => {
  const { memory, uuid } = await abandoned();
  const before = memory.keys.length;
  expect(await findRemains(memory, uuid)).toMatchObject({
    objects: before - 1,
    admin: { name: 'results', type: 'protodataset' },
  });
  const deleted: string[] = [];
  const seeing = decorate(memory, async ({ operation, key }, run) => {
    if (operation === 'delete') deleted.push(key);
    return run();
  });
  expect(await discardDataset(seeing, uuid)).toEqual({ removed: before, wasCommitted: false });
  expect(memory.keys).toEqual([]);
  expect(deleted.map((key) => key.replace(/[^/]*\/(asks|deletes)$/, '*/$1')).slice(-4)).toEqual([
    `${uuid}/dtool`,
    `dtool-${uuid}`,
    `${uuid}/discard/*/deletes`,
    `${uuid}/discard/*/asks`,
  ]);
  expect(await findRemains(memory, uuid)).toBeUndefined();
  expect(await discardDataset(memory, uuid)).toEqual({ removed: 0, wasCommitted: false });
});

test('ended at any delete: the next call finds it and goes on', async () => {
  for (let at = 1; ; at += 1) {
    const { memory, uuid } = await abandoned();
    let deletes = 0;
    const dying = decorate(memory, async ({ operation }, run) => {
      if (operation === 'delete') deletes += 1;
      if (deletes > at) throw new Error('gone');
      return run();
    });
    const whole = await discardDataset(dying, uuid).then(
      () => true,
      () => false,
    );
    if (whole) {
      expect(at).toBeGreaterThanOrEqual(9);
      break;
    }
    // Of what the registration key does not lead to any more there are marks alone.
    const isRegistered = memory.keys.includes(`dtool-${uuid}`);
    expect(isRegistered || memory.keys.every((key) => key.startsWith(`${uuid}/discard/`))).toBe(true);
    await discardDataset(memory, uuid, { writePrefix: '' });
    expect(memory.keys).toEqual([]);
  }
});

test('a frozen dataset is never touched, not even one that was frozen a moment ago', async () => {
  const memory = new MemoryObjectStore();
  const { uuid } = await freezeTo(memory, await folderOf(FILES));
  if (uuid === undefined) throw new Error('no uuid');
  const before = memory.keys;
  await expect(findRemains(memory, uuid)).rejects.toThrow('is frozen');
  await expect(discardDataset(memory, uuid)).rejects.toThrow('is frozen');
  // As a proto dataset until it has been listed.
  let listed = false;
  const late: ObjectStore = {
    ...decorate(memory, async ({ operation }, run) => {
      if (operation === 'listPage') listed = true;
      return run();
    }),
    get: async (key, maxBytes, options) => {
      const object = await memory.get(key, maxBytes, options);
      if (listed || !key.endsWith('/dtool')) return object;
      return { ...object, metadata: { ...object.metadata, type: 'protodataset' } };
    },
  };
  await expect(discardDataset(late, uuid)).rejects.toThrow('nothing of it is removed');
  expect(memory.keys).toEqual(before);
});

test('a freeze that commits after the decision: all of it goes, and that is told', async () => {
  const { memory, uuid } = await abandoned();
  const late = decorate(memory, async ({ operation, key }, run) => {
    const result = await run();
    if (operation === 'head' && key.endsWith('/asks')) {
      const admin = {
        uuid,
        name: 'results',
        type: 'dataset',
        dtoolcore_version: '3',
        creator_username: 'ada',
      };
      memory.seed(`${uuid}/dtool`, '{}', { ...admin, created_at: '1.0', frozen_at: '2.0' });
    }
    return result;
  });
  expect(await discardDataset(late, uuid)).toMatchObject({ wasCommitted: true });
  expect(memory.keys).toEqual([]);
});

test('a frozen dataset that is not registered any more is left alone, and it is told how to see it', async () => {
  const memory = new MemoryObjectStore();
  const { uuid } = await freezeTo(memory, await folderOf(FILES));
  if (uuid === undefined) throw new Error('no uuid');
  memory.remove(`dtool-${uuid}`);
  const before = memory.keys;
  for (const call of [findRemains, discardDataset])
    await expect(call(memory, uuid, { writePrefix: '' })).rejects.toMatchObject({
      message: expect.stringContaining('that is not registered; nothing of it is removed'),
      advice: expect.stringContaining(`Put the object dtool-${uuid}`),
    });
  expect(memory.keys).toEqual(before);
});

test('no permission to delete: the key and the action are told', async () => {
  const { memory, uuid } = await abandoned();
  const denied = decorate(memory, async ({ operation, key }, run) => {
    if (operation === 'delete') throw new StoreError('access-denied', { bucket: 'bucket', key }, 'no');
    return run();
  });
  await expect(discardDataset(denied, uuid)).rejects.toMatchObject({
    message: expect.stringContaining('deleting is not allowed (EACCES)'),
    advice: expect.stringContaining('s3:DeleteObject on arn:aws:s3:::bucket/'),
  });
});

test('a staged folder: with what its freeze left, and its journal', async () => {
  const { memory, folder, uuid } = await abandoned();
  expect(await freezesOf(memory, folder).discard(folder)).toBe(uuid);
  expect(memory.keys).toEqual([]);
  expect(existsSync(folder.path)).toBe(false);
  expect(await journalNames(folder)).toEqual([]);
});

test('a staged folder whose freeze is under way: that is ended first', async () => {
  const memory = new MemoryObjectStore();
  const folder = new FakeFolder(await folderOf(FILES));
  const gate = memory.hold('put');
  const freezes = freezesOf(memory, folder);
  const freezing = expect(freezes.freeze(folder)).rejects.toThrow('discarded');
  await gate.reached();
  const discarding = freezes.discard(folder);
  gate.release();
  await discarding;
  await freezing;
  expect(memory.keys).toEqual([]);
  expect(existsSync(folder.path)).toBe(false);
});

test('a staged folder whose dataset turns out to be frozen stays, and so does the dataset', async () => {
  const { memory, folder, uuid } = await abandoned();
  const copy = new FakeFolder(folder.path);
  await freezesOf(memory, copy).freeze(copy, { keepStaging: true });
  const before = memory.keys;
  // As a journal that was written before the commit says it.

  const journal = new FreezeJournal(journalsOf(folder), {
    directory: folder.path,
    endpoint: 'http://store.example',
    bucket: 'bucket',
  });
  const entry = await journal.read();
  if (!entry) throw new Error('no journal');
  await journal.write({ ...entry, state: 'committing' });
  await expect(freezesOf(memory, folder).discard(folder)).rejects.toThrow(
    `dataset ${uuid} in bucket bucket is frozen`,
  );
  expect(memory.keys).toEqual(before);
  expect(folder.sealed).toBe(false);
  expect(existsSync(folder.path)).toBe(true);
});
