import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { DatasetReader } from '../../src/ecs/dtool/dataset-reader.ts';
import { type DatasetUuid, isDatasetUuid } from '../../src/ecs/dtool/keys.ts';
import { type DatasetEntry, readRegistry } from '../../src/ecs/dtool/registry.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { freeze, type FreezeOptions, type FreezeResult } from '../../src/freeze/freeze.ts';
import type { FileHasher, OpenableFile } from '../../src/freeze/file-hasher.ts';
import { FreezeRefused } from '../../src/freeze/problems.ts';
import { systemClock } from '../../src/clock.ts';

export const USER = {
  username: 'ada',
  fullName: 'Ada Example',
  email: 'ada@example.org',
  readmeTemplatePath: undefined,
};

async function contentOf(file: OpenableFile): Promise<Buffer> {
  await using handle = await file.open();
  return await handle.readFile();
}

/** A file as hashers take it. */
export function fileAt(path: string): OpenableFile {
  return { path, open: async () => open(path) };
}

/** Hashes without a thread: Node 20 runs no TypeScript in one. */
export const inlineHasher: FileHasher = {
  md5: async (file) =>
    createHash('md5')
      .update(await contentOf(file))
      .digest('hex'),
  md5OfParts: async (file, partBytes) => {
    const content = await contentOf(file);
    const starts = Array.from(
      { length: Math.ceil(content.length / partBytes) },
      (_, part) => part * partBytes,
    );
    const md5 = (from: number, to: number): Buffer =>
      createHash('md5').update(content.subarray(from, to)).digest();
    const partMd5s = Buffer.concat(starts.map((start) => md5(start, start + partBytes)));
    return { md5: md5(0, content.length).toString('hex'), partMd5s };
  },
  close: async () => {},
};

/** A new directory that is removed after the test. */
export async function scratch(below = tmpdir()): Promise<string> {
  const path = await mkdtemp(join(below, 'dtool-ecs-mount-freeze-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Writes files by relpath below a directory. */
export async function writeTree(
  directory: string,
  files: Readonly<Record<string, string | Buffer>>,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [relpath, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, relpath)), { recursive: true });
    await writeFile(join(directory, relpath), content);
  }
}

/** A folder called `results` with these files, in a directory of its own that has room for journals, too. */
export async function folderOf(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const directory = join(await scratch(), 'results');
  await writeTree(directory, files);
  return directory;
}

/** Freezes with the settings that tests share; journals are beside the directory. */
export async function freezeTo(
  store: ObjectStore,
  directory: string,
  more: Partial<FreezeOptions> = {},
): Promise<FreezeResult> {
  return freeze({
    directory,
    store,
    endpoint: 'http://store.example',
    writePrefix: '',
    journals: join(dirname(directory), 'journals'),
    user: USER,
    hasher: inlineHasher,
    clock: systemClock,
    signal: new AbortController().signal,
    ...more,
  });
}

/** `path reason` of everything that a freeze is refused for. */
export async function refusalOf(freezing: Promise<unknown>): Promise<readonly string[]> {
  try {
    await freezing;
  } catch (error) {
    if (!(error instanceof FreezeRefused)) throw error;
    return error.problems.map(({ path, reason }) => `${path} ${reason}`);
  }
  throw new Error('it was not refused');
}

export function uuidOf(text: string): DatasetUuid {
  if (!isDatasetUuid(text)) throw new Error(`no uuid: ${text}`);
  return text;
}

/** The one dataset of a bucket. */
export async function onlyDataset(store: ObjectStore): Promise<DatasetEntry> {
  const { datasets, problems } = await readRegistry(store);
  const [entry] = datasets;
  if (!entry || datasets.length !== 1 || problems.length !== 0)
    throw new Error(`not exactly one dataset: ${JSON.stringify({ datasets, problems })}`);
  return entry;
}

/** What {@link readBack} gives for a content; comparing large buffers takes vitest minutes. */
export function base64(content: string | Uint8Array): string {
  return Buffer.from(content).toString('base64');
}

/** The content of all items of a frozen dataset in base64, as our reader finds them, each held against the manifest. */
export async function readBack(store: ObjectStore, entry: DatasetEntry): Promise<Map<string, string>> {
  const reader = new DatasetReader(store, entry);
  const found = new Map<string, string>();
  for (const { identifier, relpath, size, hash } of (await reader.manifest()).items) {
    const { body, metadata } = await store.get(reader.itemKey(identifier), 1 << 26);
    const md5 = createHash('md5').update(body).digest('hex');
    const handle = Buffer.from(relpath).toString('base64');
    if (size !== body.length || hash !== md5 || metadata['checksum'] !== md5 || metadata['handle'] !== handle)
      throw new Error(`item ${relpath} is not what the manifest says`);
    found.set(relpath, body.toString('base64'));
  }
  return found;
}
