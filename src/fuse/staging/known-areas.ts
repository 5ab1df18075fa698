import { createHash } from 'node:crypto';
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { hasErrorCode } from '../../errors.ts';

/** Characters of bucket and host in the name of an area's directory, which its hash makes unique. */
const LABEL_MAX = 80;
const HASH_LENGTH = 12;
/** Datasets of its bucket that an area remembers, to know the bucket again. */
export const AREA_DATASETS_MAX = 8;

/** Folders that a text names one by one. */
const FOLDERS_NAMED_MAX = 10;

const RECORD_FILE = 'area.json';
const RECORD = z.object({
  version: z.literal(1),
  bucket: z.string(),
  /** All spellings of the endpoint that it was used with, the first one first. */
  endpoints: z.array(z.string()),
  /** Uuids of some datasets that the bucket had. */
  datasets: z.array(z.string()).max(AREA_DATASETS_MAX),
});
export type AreaRecord = Omit<z.infer<typeof RECORD>, 'version'>;

/** A staging area as its directory tells of it, whether or not a mount has it. */
export interface KnownArea extends AreaRecord {
  /** Absolute where the directory of all areas is. */
  readonly path: string;
  /** Names of its staged folders, sorted. */
  readonly folders: readonly string[];
}

/** The name of the directory of an area: readable, and different for different buckets and endpoints. */
export function areaName(bucket: string, endpoint: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([endpoint, bucket]))
    .digest('hex');
  const label = `${bucket}@${new URL(endpoint).host}`.replaceAll(/[^\w.@-]/g, '_').slice(0, LABEL_MAX);
  return `${label}-${hash.slice(0, HASH_LENGTH)}`;
}

/**
 * All areas in a directory, sorted by their paths; none where there is no such directory.
 *
 * @throws the file system's error
 */
export async function readAreas(directory: string): Promise<readonly KnownArea[]> {
  const names = await namesIn(directory);
  return Promise.all(names.toSorted().map(async (name) => readArea(join(directory, name))));
}

/** The area that is made for a bucket and a spelling of its endpoint; it need not be there. */
export async function ownArea(directory: string, bucket: string, endpoint: string): Promise<KnownArea> {
  const area = await readArea(join(directory, areaName(bucket, endpoint)));
  return { ...area, bucket };
}

/** Reads one area; one that has no record, or a broken one, is known by the name of its directory. */
async function readArea(path: string): Promise<KnownArea> {
  const record = (await readRecord(path)) ?? recordOf(basename(path));
  const folders: string[] = [];
  for (const name of (await namesIn(join(path, 'names'))).toSorted()) {
    // A name that leads nowhere is what a crash has left.
    if (await isThere(join(path, 'names', name))) folders.push(name);
  }
  return { ...record, path, folders };
}

/** Writes the record of an area: the old one or the new one is there, whatever happens. */
export async function writeRecord(path: string, record: AreaRecord): Promise<void> {
  const temporary = join(path, `${RECORD_FILE}.new`);
  await writeFile(temporary, `${JSON.stringify({ version: 1, ...record })}\n`, { mode: 0o600, flush: true });
  await rename(temporary, join(path, RECORD_FILE));
}

/** The folders of an area, and how to see them, such as `2 folders for https://…: a, b. Mount …`. */
export function describeFolders({ bucket, endpoints, folders }: KnownArea): string {
  const names =
    folders.slice(0, FOLDERS_NAMED_MAX).join(', ') + (folders.length > FOLDERS_NAMED_MAX ? ', …' : '');
  const count = folders.length === 1 ? '1 folder' : `${folders.length} folders`;
  return (
    `${count} for ${endpoints.at(-1) ?? 'an endpoint that is not known'}: ${names}. Mount ${bucket} with that endpoint ` +
    'to see them, or, where it has another endpoint by now, with --take-staging.'
  );
}

async function readRecord(path: string): Promise<AreaRecord | undefined> {
  let text: string;
  try {
    text = await readFile(join(path, RECORD_FILE), 'utf8');
  } catch (error) {
    if (isNoArea(error)) return undefined;
    throw error;
  }
  try {
    const { bucket, endpoints, datasets } = RECORD.parse(JSON.parse(text));
    return { bucket, endpoints, datasets };
  } catch {
    return undefined;
  }
}

/** What the name of an area's directory says. The endpoint is certain where it gives the same name again. */
function recordOf(name: string): AreaRecord {
  const label = name.slice(0, -1 - HASH_LENGTH);
  const [bucket = label, host = ''] = label.split('@');
  const authority = host.replace(/_(\d+)$/, ':$1');
  const endpoints = ['https', 'http']
    .map((scheme) => `${scheme}://${authority}`)
    .filter((endpoint) => URL.canParse(endpoint) && areaName(bucket, endpoint) === name);
  return { bucket, endpoints, datasets: [] };
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isNoArea(error)) return [];
    throw error;
  }
}

/** Something else lies beside the areas: a file, or a directory of others, as lost+found is. */
function isNoArea(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES'].some((code) => hasErrorCode(error, code));
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
