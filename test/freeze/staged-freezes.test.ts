import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { decorate } from '../../src/ecs/decorated-object-store.ts';
import { readRegistry } from '../../src/ecs/dtool/registry.ts';
import { type ObjectStore, StoreError } from '../../src/ecs/object-store.ts';
import type { FrozenDataset } from '../../src/freeze/freeze.ts';
import { FreezeJournal } from '../../src/freeze/journal.ts';
import type { FreezeProgress } from '../../src/freeze/progress.ts';
import { FREEZE_MEMORY_BYTES } from '../../src/limits.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { FakeFolder, freezesOf, journalNames, journalsOf } from './staged.ts';
import { base64, folderOf, onlyDataset, readBack } from './support.ts';

const FILES = { a: 'aaa', 'b/c': 'ccc', 'd.bin': Buffer.alloc(2 << 20, 7), 'README.yml': 'x: 1\n' };

async function staged(files: Readonly<Record<string, string | Buffer>> = FILES): Promise<FakeFolder> {
  return new FakeFolder(await folderOf(files));
}

/** A store that fails from its nth put of an item on. */
function failing(store: ObjectStore, from: number): ObjectStore {
  let puts = 0;
  return decorate(store, async ({ operation, key }, run) => {
    if (operation === 'put' && key.includes('/data/')) puts += 1;
    if (puts >= from) throw new StoreError('unreachable', { bucket: store.bucket, key }, 'no route');
    return run();
  });
}

test('sealed, uploaded, committed, shown, and then gone with its journal', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  folder.name = 'shown-name';
  const frozen: (readonly [string, string, string])[] = [];
  const states: string[] = [];
  const freezes = freezesOf(memory, folder, {
    onFrozen: async ({ items }: FrozenDataset) => {
      for (const { relpath, hash, path } of items)
        frozen.push([relpath, hash.slice(0, 4), (await readFile(path)).subarray(0, 3).toString()]);
    },
    onLanded: async (uuid) => {
      expect((await onlyDataset(memory)).uuid).toBe(uuid);
      expect(folder.calls).toEqual(['seal']);
      folder.calls.push('landed');
    },
  });
  expect(await freezes.state(folder)).toEqual({ state: 'open' });
  const freezing = freezes.freeze(folder, {}, ({ phase }: FreezeProgress) => states.push(phase));
  expect(await freezes.state(folder)).toMatchObject({ state: 'sealing' });
  expect(await freezing).toMatchObject({ outcome: 'frozen', items: 3, name: 'shown-name' });
  expect([...new Set(states)]).toEqual(['uploading', 'committing']);
  expect(folder.calls).toEqual(['seal', 'landed', 'remove']);
  expect(existsSync(folder.path)).toBe(false);
  expect(await journalNames(folder)).toEqual([]);
  expect(frozen.toSorted(([a], [b]) => (a < b ? -1 : 1))).toEqual([
    ['a', '47bc', 'aaa'],
    ['b/c', '9df6', 'ccc'],
    ['d.bin', expect.any(String), '\u0007\u0007\u0007'],
  ]);
});

test.each([true, false])(
  'has memory lent for as long as it takes, whether it ends well: %s',
  async (isWell) => {
    const memory = new MemoryObjectStore();
    const folder = await staged();
    let lent = 0;
    const most: number[] = [];
    const freezes = freezesOf(isWell ? memory : failing(memory, 1), folder, {
      lend: (bytes) => {
        most.push((lent += bytes));
        return () => (lent -= bytes);
      },
    });
    await Promise.allSettled([freezes.freeze(folder)]);
    expect([most, lent]).toEqual([[FREEZE_MEMORY_BYTES], 0]);
  },
);

test('what is only convenient, and fails, makes no failure of it', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const fail = async (): Promise<void> => {
    throw new Error('no');
  };
  const freezes = freezesOf(memory, folder, { onFrozen: fail, onLanded: fail });
  expect(await freezes.freeze(folder)).toMatchObject({ outcome: 'frozen' });
  expect(existsSync(folder.path)).toBe(false);
});

test('open files are refused beside everything else that is wrong, and their writers not disturbed', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  await symlink('/etc', join(folder.path, 'out'));
  folder.open = ['b/c'];
  const freezes = freezesOf(memory, folder);
  for (const dryRun of [true, false]) {
    expect(await freezes.freeze(folder, { dryRun })).toMatchObject({
      outcome: 'refused',
      message: "results can't be frozen for 2 reasons; nothing was uploaded",
      problems: [
        { path: 'b/c', reason: 'is open for writing; close it' },
        { path: 'out', reason: expect.stringContaining('leaves the directory') },
      ],
    });
  }
  expect(folder.calls).toEqual([]);
  expect(memory.keys).toEqual([]);
  expect(await freezesOf(memory, folder).state(folder)).toMatchObject({
    state: 'failed',
    reason:
      "results can't be frozen for 2 reasons; nothing was uploaded: b/c is open for writing; close it; and 1 more",
    advice: expect.stringContaining('--dry-run'),
    uuid: undefined,
  });
});

test('what is ignored is left out, told of, and remembered by a freeze that goes on', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  await symlink('/etc', join(folder.path, 'out.tmp'));
  const freezes = freezesOf(memory, folder);
  expect(await freezes.freeze(folder, { dryRun: true })).toMatchObject({ outcome: 'refused' });
  const ignore = ['*.tmp'];
  const told = { path: 'out.tmp', reason: 'is left out, as --ignore says' };
  const dry = await freezes.freeze(folder, { dryRun: true, ignore });
  expect(dry).toMatchObject({ outcome: 'dry-run', warnings: expect.arrayContaining([told]) });
  const kept = await freezes.freeze(folder, { keepStaging: true, ignore });
  expect(kept).toMatchObject({ outcome: 'frozen', warnings: expect.arrayContaining([told]) });
  // Without patterns it looks for the same content.
  expect(await freezesOf(memory, folder).freeze(folder)).toMatchObject({ outcome: 'already-frozen' });
});

test('a refusal names the folder, and not where it is on the local disk', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  await symlink(join(folder.path, 'missing'), join(folder.path, 'dangling'));
  const freezes = freezesOf(memory, folder);
  for (const dryRun of [true, false]) {
    const result = await freezes.freeze(folder, { dryRun, name: 'no name' });
    expect(result).toMatchObject({ outcome: 'refused', count: 2 });
    expect(JSON.stringify(result)).not.toContain(folder.path);
  }
  expect(JSON.stringify(await freezes.state(folder))).not.toContain(folder.path);
});

test('a store that goes away: unsealed, the reason kept over the end of the process, and the rest later', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  await expect(freezesOf(failing(memory, 2), folder).freeze(folder)).rejects.toMatchObject({
    message: expect.stringMatching(/^freezing results did not come to its end: .*no route/),
    advice: expect.stringContaining('goes on from there'),
  });
  expect(folder.calls).toEqual(['seal', 'unseal']);
  const freezes = freezesOf(memory, folder);
  const [key = ''] = memory.keys.filter((name) => name.startsWith('dtool-'));
  expect(await freezes.state(folder)).toMatchObject({
    state: 'failed',
    reason: expect.stringContaining('no route'),
    uuid: key.slice('dtool-'.length),
  });
  await (await freezes.recover(folder)).done;
  expect(folder.calls).toEqual(['seal', 'unseal']);
  const puts = memory.requests.put;
  expect(await freezes.freeze(folder)).toMatchObject({
    outcome: 'frozen',
    resumed: true,
    uuid: key.slice('dtool-'.length),
  });
  expect(memory.requests.put - puts).toBeLessThan(10);
  expect((await readBack(memory, await onlyDataset(memory))).get('a')).toBe(base64('aaa'));
});

test('a second freeze attaches to the first, and hears how far it is', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const gate = memory.hold('put');
  const freezes = freezesOf(memory, folder);
  const first = freezes.freeze(folder);
  await gate.reached();
  const heard: FreezeProgress[] = [];
  const second = freezes.freeze(folder, { name: 'other' }, (progress) => heard.push(progress));
  expect(heard).toHaveLength(1);
  gate.release();
  expect(await second).toEqual(await first);
  expect(await second).toMatchObject({ outcome: 'frozen', name: 'results' });
  expect(heard.at(-1)).toMatchObject({ phase: 'committing', items: 3 });
  expect(folder.calls).toEqual(['seal', 'remove']);
});

test('ended with the mount: nothing is lost, and no freeze starts any more', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const gate = memory.hold('put');
  const freezes = freezesOf(memory, folder);
  const freezing = freezes.freeze(folder);
  const stopped = expect(freezing).rejects.toThrow('stopped before its end');
  await gate.reached();
  const stopping = freezes.stop();
  gate.release();
  await stopping;
  await stopped;
  await expect(freezes.freeze(folder)).rejects.toThrow('unmounted');
  expect(folder.sealed).toBe(false);
  const next = freezesOf(memory, folder);
  expect(await next.state(folder)).toMatchObject({ state: 'failed', reason: 'it was interrupted' });
  expect(await next.freeze(folder)).toMatchObject({ outcome: 'frozen' });
});

test('kept on demand: open again, and seen to be done when it is frozen once more', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const freezes = freezesOf(memory, folder);
  const first = await freezes.freeze(folder, { keepStaging: true });
  expect(folder.calls).toEqual(['seal', 'unseal']);
  await (await freezesOf(memory, folder).recover(folder)).done;
  expect(existsSync(folder.path)).toBe(true);
  expect(await freezes.state(folder)).toMatchObject({ state: 'frozen' });
  await writeFile(join(folder.path, 'a'), 'changed');
  const second = await freezes.freeze(folder, { keepStaging: true });
  expect(second).toMatchObject({ outcome: 'frozen', uploadedItems: 3 });
  expect(second).not.toMatchObject({ uuid: 'uuid' in first ? first.uuid : undefined });
  expect(await freezes.freeze(folder)).toMatchObject({ outcome: 'already-frozen' });
  expect(existsSync(folder.path)).toBe(false);
});

test('a process that ends between the commit and the end: the next one cleans up and uploads nothing', async () => {
  for (const moment of ['commit', 'landed', 'remove'] as const) {
    const memory = new MemoryObjectStore();
    const folder = await staged();
    const dying: ObjectStore = decorate(memory, async ({ operation, key }, run) => {
      const result = await run();
      const isCommit =
        operation === 'put' &&
        key.endsWith('/dtool') &&
        memory.keys.some((name) => name.endsWith('/manifest.json'));
      // As if the process were gone: nothing that comes after happens.
      if (moment === 'commit' && isCommit) await new Promise(() => {});
      return result;
    });
    const reached = new Promise<void>((resolve) => {
      const die = async (): Promise<void> => {
        resolve();
        await new Promise(() => {});
      };
      if (moment === 'remove') folder.remove = die;
      void freezesOf(dying, folder, moment === 'landed' ? { onLanded: die } : {}).freeze(folder);
      if (moment === 'commit') void committed(memory).then(resolve);
    });
    await reached;
    const again = new FakeFolder(folder.path);
    // The lock names this process, which lives on here.
    await removeLocks(again);
    const puts = memory.requests.put;
    const next = freezesOf(memory, again);
    const { done } = await next.recover(again);
    expect(again.sealed).toBe(true);
    await done;
    expect(again.calls, moment).toEqual(['seal', 'remove']);
    expect(memory.requests.put).toBe(puts);
    expect(await journalNames(again)).toEqual([]);
    expect((await readBack(memory, await onlyDataset(memory))).size).toBe(3);
  }
});

test('a committed dataset that is not whole any more: the next mount keeps the folder and tells why', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  let isAlmostOver = false;
  folder.remove = async () => {
    isAlmostOver = true;
    await new Promise(() => {});
  };
  void freezesOf(memory, folder).freeze(folder);
  await expect.poll(() => isAlmostOver).toBe(true);
  memory.remove(memory.keys.find((key) => key.includes('/data/')) ?? '');
  const again = new FakeFolder(folder.path);
  const next = freezesOf(memory, again);
  await (await next.recover(again)).done;
  expect(again.calls).toEqual(['seal', 'unseal']);
  expect(await next.state(again)).toMatchObject({
    state: 'failed',
    reason: expect.stringContaining('1 object is missing or changed'),
    advice: 'Freeze it again: only that is sent.',
  });
  expect(await next.freeze(again)).toMatchObject({ outcome: 'frozen', uploadedItems: 1 });
  expect(existsSync(folder.path)).toBe(false);
  expect((await readBack(memory, await onlyDataset(memory))).size).toBe(3);
});

test('one that was to be kept, and whose process ended at the commit, is kept', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const dying = decorate(memory, async ({ operation, key }, run) => {
    const result = await run();
    const isCommit =
      operation === 'put' &&
      key.endsWith('/dtool') &&
      memory.keys.some((name) => name.endsWith('/manifest.json'));
    if (isCommit) await new Promise(() => {});
    return result;
  });
  void freezesOf(dying, folder).freeze(folder, { keepStaging: true });
  await committed(memory);
  await removeLocks(folder);
  const again = new FakeFolder(folder.path);
  const next = freezesOf(memory, again);
  await (await next.recover(again)).done;
  expect(again.calls).toEqual([]);
  expect(await next.state(again)).toMatchObject({ state: 'failed', reason: 'it was interrupted' });
  expect(await next.freeze(again, { keepStaging: true })).toMatchObject({ outcome: 'already-frozen' });
  expect(await next.state(again)).toMatchObject({ state: 'frozen' });
  await (await freezesOf(memory, again).recover(again)).done;
  expect(existsSync(folder.path)).toBe(true);
});

test('frozen, and its folder can not be removed: that is told, nobody changes it, and the next mount removes it', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  folder.remove = async () => {
    throw new Error(`the disk of ${folder.path} is read-only`);
  };
  expect(await freezesOf(memory, folder).freeze(folder)).toMatchObject({
    outcome: 'frozen',
    warnings: [
      {
        path: 'results',
        reason:
          'is frozen, and its folder could not be removed: the disk of results is read-only; the next mount removes it',
      },
    ],
  });
  expect(folder.sealed).toBe(true);
  expect(await freezesOf(memory, folder).state(folder)).toMatchObject({ state: 'frozen' });
  const again = new FakeFolder(folder.path);
  await (await freezesOf(memory, again).recover(again)).done;
  expect(existsSync(folder.path)).toBe(false);
  expect(await journalNames(folder)).toEqual([]);
  expect((await readBack(memory, await onlyDataset(memory))).size).toBe(3);
});

test('a journal that can not say so after the commit: the next mount finds out and removes the folder', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  const full = vi.spyOn(FreezeJournal.prototype, 'write');
  full.mockImplementation(async function (this: FreezeJournal, entry) {
    if (entry.state === 'frozen') throw new Error('no space left on device');
    await mkdir(journalsOf(folder), { recursive: true, mode: 0o700 });
    await writeFile(this.path, JSON.stringify(entry));
  });
  await expect(freezesOf(memory, folder).freeze(folder)).rejects.toThrow('no space left');
  full.mockRestore();
  expect(await freezesOf(memory, folder).state(folder)).toMatchObject({ state: 'failed' });
  const again = new FakeFolder(folder.path);
  const puts = memory.requests.put;
  await (await freezesOf(memory, again).recover(again)).done;
  expect(existsSync(folder.path)).toBe(false);
  expect(memory.requests.put).toBe(puts);
});

test('whether it is kept is for the last freeze to say', async () => {
  const memory = new MemoryObjectStore();
  const folder = await staged();
  folder.remove = async () => {
    throw new Error('the disk is read-only');
  };
  await freezesOf(memory, folder).freeze(folder);
  const again = new FakeFolder(folder.path);
  expect(await freezesOf(memory, again).freeze(again, { keepStaging: true })).toMatchObject({
    outcome: 'already-frozen',
  });
  expect(again.sealed).toBe(false);
  await (await freezesOf(memory, again).recover(again)).done;
  expect(existsSync(folder.path)).toBe(true);
});

/** Resolves when the dataset in the store is frozen. */
async function committed(memory: MemoryObjectStore): Promise<void> {
  for (;;) {
    const [entry] = (await readRegistry(memory)).datasets;
    if (entry?.admin.type === 'dataset') return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function removeLocks(folder: FakeFolder): Promise<void> {
  for (const name of await journalNames(folder))
    if (name.includes('.lock')) await rm(join(journalsOf(folder), name));
}
