import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { decorate, type StoreRequest } from '../../src/ecs/decorated-object-store.ts';
import { partBytesOf } from '../../src/ecs/multipart-upload.ts';
import { type ObjectStore, StoreError, type StoreErrorReason } from '../../src/ecs/object-store.ts';
import { createRetryingObjectStore } from '../../src/ecs/retrying-object-store.ts';
import type { OpenableFile } from '../../src/freeze/file-hasher.ts';
import type { FreezeProgress } from '../../src/freeze/progress.ts';
import { GiB, MiB, OBJECT_MAX_BYTES, SINGLE_PUT_MAX_BYTES, UPLOAD_PARTS_MAX } from '../../src/limits.ts';
import { InstantClock } from '../support/instant-clock.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import { base64, folderOf, freezeTo, inlineHasher, onlyDataset, readBack, refusalOf } from './support.ts';

/** Files above 1,000 bytes go in parts of 400. */
const partSizes = { singlePutMaxBytes: 1_000, partBytes: 400 };
/** Four parts, the last one of 50 bytes. */
const LARGE = randomBytes(1_250);
const FILES = { 'large.bin': LARGE, edge: Buffer.alloc(1_000, 'e'), small: 's' };

class Crash extends Error {}

/** Sees every request before and after it is carried out, and may throw. */
function watched(
  store: ObjectStore,
  before: (request: StoreRequest) => void,
  after: (request: StoreRequest) => void = () => {},
): ObjectStore {
  return decorate(store, async (request, run) => {
    before(request);
    const result = await run();
    after(request);
    return result;
  });
}

const failure = (reason: StoreErrorReason): StoreError =>
  new StoreError(reason, { bucket: 'bucket', key: 'key' }, 'as the test wants it');

/** What the bucket must have in the end, whatever happened before. */
async function expectWhole(memory: MemoryObjectStore): Promise<void> {
  const entry = await onlyDataset(memory);
  expect(entry.admin.type).toBe('dataset');
  const expected = Object.entries(FILES).map(([relpath, body]) => [relpath, base64(body)] as const);
  expect(await readBack(memory, entry)).toEqual(new Map(expected));
  expect(memory.keys).toHaveLength(1 + 5 + 3);
}

const journalFiles = async (directory: string): Promise<readonly string[]> =>
  (await readdir(join(dirname(directory), 'journals'))).toSorted();

test('a large file goes in parts, content and metadata are right, and nothing is left over', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  const told: FreezeProgress[] = [];
  const onProgress = (progress: FreezeProgress): void => void told.push(progress);
  await freezeTo(memory, directory, { partSizes, onProgress });
  await expectWhole(memory);
  expect(memory.requests).toMatchObject({
    createUpload: 1,
    putPart: 4,
    completeUpload: 1,
    abortUpload: 0,
    listUploads: 1,
    head: 1,
    put: 7 + 2,
  });
  expect(memory.uploads).toEqual([]);
  expect(told.at(-1)).toMatchObject({ items: 3, bytes: 2_251, totalBytes: 2_251 });
  expect(told.filter(({ bytes }) => bytes > 2_251 || bytes < 0)).toEqual([]);
  expect(await journalFiles(directory)).toEqual([expect.stringMatching(/\.json$/)]);
  const requests = memory.requestCount;
  expect(await freezeTo(memory, directory, { partSizes })).toMatchObject({ outcome: 'already-frozen' });
  expect(memory.requestCount - requests).toBeLessThanOrEqual(5);
});

test('a part that fails is sent again by itself', async () => {
  const memory = new MemoryObjectStore();
  memory.failNext('putPart', memory.error('unreachable'), 3);
  memory.failNext('createUpload', memory.error('throttled'));
  const store = createRetryingObjectStore(memory, { clock: new InstantClock() });
  const told: FreezeProgress[] = [];
  const onProgress = (progress: FreezeProgress): void => void told.push(progress);
  await freezeTo(store, await folderOf(FILES), { partSizes, onProgress });
  await expectWhole(memory);
  expect(memory.requests).toMatchObject({ createUpload: 2, putPart: 4 + 3, completeUpload: 1 });
  expect(told.at(-1)?.bytes).toBe(2_251);
});

test('a completion whose answer is lost, or is an error, counts when the object is there', async () => {
  const memory = new MemoryObjectStore();
  let lost = 0;
  const losing = watched(
    memory,
    () => {},
    ({ operation }) => {
      if (operation === 'completeUpload' && (lost += 1) === 1) throw failure('bad-response');
    },
  );
  const store = createRetryingObjectStore(losing, { clock: new InstantClock() });
  await freezeTo(store, await folderOf(FILES), { partSizes });
  await expectWhole(memory);
  // A look at the object comes before another completion.
  expect(memory.requests).toMatchObject({ createUpload: 1, putPart: 4, completeUpload: 1 });
});

test('a completion that Ceph calls under way when it is done', async () => {
  const memory = new MemoryObjectStore();
  const ceph: ObjectStore = {
    ...decorate(memory, (_request, run) => run()),
    completeUpload: async (upload, parts, options) => {
      await memory.completeUpload(upload, parts, options);
      throw failure('server-error');
    },
  };
  await freezeTo(ceph, await folderOf(FILES), { partSizes });
  await expectWhole(memory);
});

test('a completion that put together something else is not believed', async () => {
  const memory = new MemoryObjectStore();
  const wrong: ObjectStore = {
    ...decorate(memory, (_request, run) => run()),
    completeUpload: async (upload, parts, options) => memory.completeUpload(upload, parts.slice(1), options),
  };
  const directory = await folderOf(FILES);
  await expect(freezeTo(wrong, directory, { partSizes })).rejects.toMatchObject({ reason: 'bad-response' });
  expect((await onlyDataset(memory)).admin.type).toBe('protodataset');
  await freezeTo(memory, directory, { partSizes });
  await expectWhole(memory);
});

for (const moment of ['before', 'after'] as const) {
  test(`a crash ${moment} any request: the next freeze goes on with the parts that are there`, async () => {
    let crashes = 0;
    for (let at = 1; ; at += 1) {
      const memory = new MemoryObjectStore();
      const directory = await folderOf({ 'large.bin': LARGE, edge: FILES.edge, small: 's' });
      let requests = 0;
      const crashing = watched(
        memory,
        () => {
          requests += 1;
          if (requests > at || (requests === at && moment === 'before')) throw new Crash();
        },
        () => {
          if (requests >= at) throw new Crash();
        },
      );
      const outcome = await freezeTo(crashing, directory, { partSizes }).catch((error: unknown) => error);
      const sentAtFirst = memory.requests.putPart;
      const wasStored = memory.requests.completeUpload > 0;
      if (!(outcome instanceof Crash)) {
        expect(outcome).toMatchObject({ outcome: 'frozen' });
        break;
      }
      crashes += 1;
      const remembered = await rememberedParts(directory);
      await freezeTo(memory, directory, { partSizes });
      await expectWhole(memory);
      expect(memory.uploads).toEqual([]);
      // What was answered is not sent again, but for one part that shows whether the upload is still there.
      const again = wasStored ? 0 : Math.max(1, 4 - remembered);
      expect(memory.requests.putPart - sentAtFirst, `at ${at}`).toBe(again);
      expect(await journalFiles(directory)).toEqual([expect.stringMatching(/\.json$/)]);
    }
    expect(crashes).toBe(22);
  });
}

/** Parts that the file beside the journal knows to be stored; 4 when the upload is completed, 0 without the file. */
async function rememberedParts(directory: string): Promise<number> {
  const journals = join(dirname(directory), 'journals');
  const name = (await readdir(journals)).find((one) => one.endsWith('.uploads'));
  if (name === undefined) return 0;
  expect((await stat(join(journals, name))).mode & 0o777).toBe(0o600);
  const text = await readFile(join(journals, name), 'utf8');
  return text.includes('"ended"') ? 4 : text.split('"part":').length - 1;
}

test('stopped in the middle: what is uploaded stays, and the next freeze goes on', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  const stop = new AbortController();
  const stopping = watched(memory, ({ operation }) => {
    if (operation === 'completeUpload') stop.abort();
  });
  const stopped = freezeTo(stopping, directory, { partSizes, signal: stop.signal });
  await expect(stopped).rejects.toThrow('aborted');
  expect(memory.uploads).toMatchObject([{ parts: expect.arrayContaining([1, 2, 3, 4]) }]);
  const told: FreezeProgress[] = [];
  await freezeTo(memory, directory, { partSizes, onProgress: (progress) => void told.push(progress) });
  await expectWhole(memory);
  expect(memory.requests).toMatchObject({
    createUpload: 1,
    putPart: 4 + 1,
    abortUpload: 0,
    completeUpload: 1,
  });
  expect(told.at(-1)?.bytes).toBe(2_251);
});

test('a line of the record that a crash has torn costs one part', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  memory.failNext('completeUpload', memory.error('unreachable'));
  await expect(freezeTo(memory, directory, { partSizes })).rejects.toThrow('unreachable');
  expect(await rememberedParts(directory)).toBe(4);
  const journals = join(dirname(directory), 'journals');
  const record = (await readdir(journals)).find((name) => name.endsWith('.uploads')) ?? '';
  await truncate(join(journals, record), (await stat(join(journals, record))).size - 5);
  memory.failNext('completeUpload', memory.error('unreachable'));
  await expect(freezeTo(memory, directory, { partSizes })).rejects.toThrow('unreachable');
  await freezeTo(memory, directory, { partSizes });
  await expectWhole(memory);
  expect(memory.requests).toMatchObject({ createUpload: 1, putPart: 4 + 1 + 1 });
});

test('an upload that the store has dropped meanwhile is begun anew', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  memory.failNext('completeUpload', memory.error('unreachable'));
  await expect(freezeTo(memory, directory, { partSizes })).rejects.toMatchObject({ reason: 'unreachable' });
  for (const { id } of memory.uploads) memory.dropUpload(id);
  const told: FreezeProgress[] = [];
  await freezeTo(memory, directory, { partSizes, onProgress: (progress) => void told.push(progress) });
  await expectWhole(memory);
  expect(memory.requests).toMatchObject({ createUpload: 2, putPart: 4 + 1 + 4 });
  expect(told.at(-1)?.bytes).toBe(2_251);
});

test('a file that changes between the hash and the upload is refused and named, and its upload dropped', async () => {
  const memory = new MemoryObjectStore();
  const directory = await folderOf(FILES);
  const path = join(directory, 'large.bin');
  await utimes(path, 1_700_000_000, 1_700_000_000);
  const hasher = {
    ...inlineHasher,
    md5OfParts: async (file: OpenableFile, partBytes: number, signal: AbortSignal) => {
      const result = await inlineHasher.md5OfParts(file, partBytes, signal);
      // As through a memory map: neither size nor time tell.
      await writeFile(
        path,
        Buffer.concat([LARGE.subarray(0, 1_249), Buffer.from([(LARGE[1_249] ?? 0) ^ 1])]),
      );
      await utimes(path, 1_700_000_000, 1_700_000_000);
      return result;
    },
  };
  const freezing = freezeTo(memory, directory, { partSizes, hasher });
  await expect(freezing).rejects.toThrow(/large\.bin changed while it was frozen/);
  expect(memory.uploads).toEqual([]);
  expect(memory.requests).toMatchObject({ abortUpload: 1, completeUpload: 0 });
  await writeFile(path, LARGE);
  await freezeTo(memory, directory, { partSizes });
  await expectWhole(memory);
});

test('a file that has changed since: its upload is dropped, and where that is denied the freeze ends all the same', async () => {
  for (const denied of [false, true]) {
    const memory = new MemoryObjectStore();
    const directory = await folderOf({ ...FILES, 'large.bin': Buffer.alloc(1_250, 'old') });
    memory.failNext('completeUpload', memory.error('unreachable'));
    await expect(freezeTo(memory, directory, { partSizes })).rejects.toThrow('unreachable');
    await writeFile(join(directory, 'large.bin'), LARGE);
    // The access policy that dtool-ecs documents allows neither to abort nor to list.
    const store = watched(memory, ({ operation }) => {
      if (denied && (operation === 'abortUpload' || operation === 'listUploads'))
        throw failure('access-denied');
    });
    await freezeTo(store, directory, { partSizes });
    await expectWhole(memory);
    expect(memory.uploads).toHaveLength(denied ? 1 : 0);
    expect(await journalFiles(directory)).toEqual([expect.stringMatching(/\.json$/)]);
  }
});

test('no more than 10,000 parts, none larger than S3 takes', () => {
  for (const size of [1, SINGLE_PUT_MAX_BYTES + 1, 625 * GiB, 625 * GiB + 1, 1_000 * GiB, OBJECT_MAX_BYTES]) {
    const partBytes = partBytesOf(size);
    expect(Math.ceil(size / partBytes)).toBeLessThanOrEqual(UPLOAD_PARTS_MAX);
    expect(partBytes).toBeGreaterThanOrEqual(64 * MiB);
    expect(partBytes).toBeLessThanOrEqual(SINGLE_PUT_MAX_BYTES);
  }
  expect(partBytesOf(100 * GiB)).toBe(64 * MiB);
  expect(partBytesOf(OBJECT_MAX_BYTES)).toBe(525 * MiB);
});

test('a file above 5 TiB is refused', async (context) => {
  const directory = await folderOf({ huge: '' });
  const made = await truncate(join(directory, 'huge'), OBJECT_MAX_BYTES + 1).then(
    () => true,
    () => false,
  );
  context.skip(!made, 'the file system of the temporary directory has no files of 5 TiB');
  const memory = new MemoryObjectStore();
  expect(await refusalOf(freezeTo(memory, directory))).toEqual([
    expect.stringMatching(/^huge is larger than 5 TiB/),
  ]);
  expect(memory.requestCount).toBe(0);
});
