import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { ContainedDirectory } from '../contained-directory.ts';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import { nameFlaw } from '../ecs/dtool/names.ts';
import { DTOOLCORE_VERSION } from '../ecs/dtool/structure.ts';
import type { FileHasher } from './file-hasher.ts';
import { hashItems, ItemMd5s, md5Hex } from './item-md5.ts';
import { type FreezeProblem, FreezeProblems } from './problems.ts';
import { type FreezeProgress, ProgressCounter } from './progress.ts';
import { type FreezeUser, makeReadme, readmeFlaw } from './readme.ts';
import { readSource, type Source } from './source.ts';

/** All that a dataset will be, known before the first byte is sent. */
export interface FreezePlan {
  readonly source: Source;
  /** Undefined where one has to be drawn. */
  readonly uuid: DatasetUuid | undefined;
  /** `frozenAt` is that of a frozen source. */
  readonly admin: Omit<AdminMetadata, 'uuid' | 'type'>;
  readonly readme: Buffer;
  /** Of all items, in bytes. */
  readonly totalBytes: number;
  /** Known where they were checked: of a frozen source. The upload fills in the others. */
  readonly md5s: ItemMd5s;
  readonly warnings: readonly FreezeProblem[];
}

export interface PlanOptions {
  /** Absolute: for messages, and for the name of the dataset. */
  readonly directory: string;
  /** The directory, open for as long as the plan is used. */
  readonly folder: ContainedDirectory;
  /** As in `FreezeOptions`. */
  readonly name?: string | undefined;
  readonly defaultName?: string | undefined;
  readonly user: FreezeUser;
  /** For a source that does not say: seconds since the epoch. */
  readonly createdAt: number;
  readonly hasher: FileHasher;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: FreezeProgress) => void;
  /** As in `FreezeOptions`. */
  readonly ignore?: readonly string[] | undefined;
  /** Reasons to refuse that are known beforehand. */
  readonly obstacles?: readonly FreezeProblem[] | undefined;
}

/**
 * Looks at everything in a directory, and changes nothing. The contents of a frozen dataset are read and held against
 * its manifest.
 *
 * @throws FreezeRefused with all that is wrong
 * @throws the signal's reason
 */
export async function planFreeze(options: PlanOptions): Promise<FreezePlan> {
  const { directory, folder, user, createdAt, signal } = options;
  const problems = new FreezeProblems();
  for (const { path, reason } of options.obstacles ?? []) problems.refuse(path, reason);
  const source = await readSource(folder, problems, signal, options.ignore);
  const name = options.name ?? source.admin?.name ?? options.defaultName ?? basename(directory);
  const flaw = nameFlaw(name);
  if (flaw !== undefined) {
    const what = options.name === undefined ? directory : '--name';
    problems.refuse(what, `${JSON.stringify(name)} ${flaw}; give another with --name`);
  }
  if (source.items.length === 0) problems.warn(directory, 'has no items');
  const { totalBytes } = source.items;
  const admin = {
    dtoolcoreVersion: source.admin?.dtoolcoreVersion ?? DTOOLCORE_VERSION,
    name,
    creatorUsername: source.admin ? source.admin.creatorUsername : user.username,
    createdAt: source.admin ? source.admin.createdAt : createdAt,
    frozenAt: source.kind === 'frozen' ? source.admin?.frozenAt : undefined,
  };
  for (const value of [admin.dtoolcoreVersion, admin.creatorUsername]) {
    if (value !== undefined && !/^[!-~]([ -~]*[!-~])?$/.test(value)) {
      const what = source.admin ? '.dtool/dtool' : 'LOGNAME';
      problems.refuse(what, `has ${JSON.stringify(value)}: S3 metadata is plain ASCII; give another`);
    }
  }
  const readme = await readmeOf(source, name, options, problems);
  const md5s = await checkContents(source, totalBytes, options, problems);
  problems.throwIfAny(directory);
  return { source, uuid: source.admin?.uuid, admin, readme, totalBytes, md5s, warnings: problems.warnings };
}

async function readmeOf(
  { readme }: Source,
  name: string,
  { user, createdAt }: PlanOptions,
  problems: FreezeProblems,
): Promise<Buffer> {
  if (readme) {
    const flaw = readmeFlaw(readme);
    if (flaw !== undefined) problems.refuse('README.yml', flaw);
    return readme;
  }
  const date = new Date(createdAt * 1000).toISOString().slice(0, 10);
  const made = await makeReadme(name, user, date);
  if ('flaw' in made) problems.refuse(user.readmeTemplatePath ?? 'README.yml', made.flaw);
  else problems.warn('README.yml', 'is missing and is made from a template');
  return Buffer.from('flaw' in made ? '' : made.text);
}

async function checkContents(
  { manifest, items }: Source,
  totalBytes: number,
  { hasher, signal, onProgress }: PlanOptions,
  problems: FreezeProblems,
): Promise<ItemMd5s> {
  if (!manifest) return new ItemMd5s(items.length);
  const progress = new ProgressCounter('checking', items.length, totalBytes, onProgress);
  const md5s = await hashItems(items, hasher, signal, ({ size }) => progress.add({ items: 1, bytes: size }));
  for (const item of items) {
    const described = manifest.items.get(item.identifier);
    if (described && described.hash !== md5s.get(item))
      problems.refuse(`data/${item.relpath}`, 'has another content than the manifest says; restore it');
  }
  return md5s;
}

/** Items that are looked at before others get their turn. */
const ITEMS_PER_TURN = 1_000;

/**
 * What tells whether a directory has the content that was frozen: SHA-256 in hex over everything but the times and
 * a README that is made.
 *
 * @param md5s of all items
 */
export async function contentDigest({ source, admin }: FreezePlan, md5s: ItemMd5s): Promise<string> {
  const hash = createHash('sha256');
  const add = (...parts: readonly (string | number | undefined)[]): void => {
    hash.update(`${JSON.stringify(parts)}\n`);
  };
  add('name', admin.name);
  for (const item of source.items) {
    add('item', item.identifier, item.size, md5s.get(item));
    if (item.index % ITEMS_PER_TURN === 0) await setImmediate();
  }
  if (source.readme) add('readme', md5Hex(source.readme));
  for (const tag of source.tags.toSorted()) add('tag', tag);
  for (const [kind, files] of [
    ['annotation', source.annotations],
    ['overlay', source.overlays],
  ] as const) {
    for (const name of [...files.keys()].toSorted()) add(kind, name, md5Hex(files.get(name) ?? Buffer.of()));
  }
  return hash.digest('hex');
}
