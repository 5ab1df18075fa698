import { setImmediate } from 'node:timers/promises';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { DTOOL_README_TXT } from '../ecs/dtool/dtool-readme.ts';
import { itemMetadata } from '../ecs/dtool/item-metadata.ts';
import {
  ADMIN_METADATA,
  ANNOTATIONS,
  type DatasetKeyPrefix,
  type DatasetUuid,
  DTOOL_README,
  itemKey,
  MANIFEST,
  OVERLAYS,
  README,
  STRUCTURE,
  TAGS,
} from '../ecs/dtool/keys.ts';
import { listAll, type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { UserError } from '../errors.ts';
import { overruleDiscards } from './discard-marks.ts';
import { type ItemMd5s, md5Hex } from './item-md5.ts';
import type { SourceItem } from './item-table.ts';
import type { FreezePlan } from './plan.ts';
import { PresentObjects } from './present-objects.ts';
import { findDataset } from './registration.ts';
import type { Source } from './source.ts';

/** What a look at a dataset after its commit has shown. */
export type Verdict =
  | { readonly state: 'whole' }
  | {
      readonly state: 'incomplete';
      /** Keys that are missing or have another content. */
      readonly missing: number;
      /** One of them. */
      readonly first: string;
      readonly present: PresentObjects;
    }
  /** A discard has removed it or goes on to, or may do so. */
  | { readonly state: 'discarded' | 'contested' };

export interface CommittedOptions {
  readonly store: ObjectStore;
  readonly uuid: DatasetUuid;
  /** What the registration key says. */
  readonly prefix: string;
  readonly keyPrefix: DatasetKeyPrefix;
  readonly plan: FreezePlan;
  /** Of all items. */
  readonly md5s: ItemMd5s;
  /** Of the commit, in seconds since the epoch. */
  readonly frozenAt: number;
  readonly signal: AbortSignal;
}

/** Items that are looked at before others get their turn. */
const ITEMS_PER_TURN = 1_000;

/**
 * Looks at a dataset after its commit: whether it is whole, this freeze's, and stays so. That is F2 and F3 of what
 * `discard-marks.ts` describes. It costs a request for each 1,000 objects and two more; of an item whose ETag is not its MD5,
 * on a store whose ETags are that, one more.
 *
 * @throws StoreError, FormatError
 */
export async function lookAtCommitted(options: CommittedOptions): Promise<Verdict> {
  const { store, uuid, prefix, keyPrefix, plan, frozenAt, signal } = options;
  const present = new PresentObjects(keyPrefix, plan.source.items);
  for await (const object of listAll(store, keyPrefix, { signal })) present.add(object);
  const discards = await overruleDiscards(store, keyPrefix, present.discards, signal);
  if (discards === 'deletes') return { state: 'discarded' };
  const found = await findDataset(store, uuid, signal);
  // The registration key goes when all else has gone.
  if (found?.prefix !== prefix) return { state: 'discarded' };
  if (discards === 'contested') return { state: 'contested' };
  const missing = await missingKeys(options, present);
  if (!isCommit(found.admin, frozenAt)) missing.push(keyPrefix + ADMIN_METADATA);
  const [first] = missing;
  if (first === undefined) return { state: 'whole' };
  return { state: 'incomplete', missing: missing.length, first, present };
}

/** Whether admin metadata is that of a freeze's commit. */
export function isCommit(admin: AdminMetadata | undefined, frozenAt: number | undefined): boolean {
  return admin?.type === 'dataset' && frozenAt !== undefined && admin.frozenAt === frozenAt;
}

/** The paths of the objects that a dataset has besides its items, below its key prefix. */
export function pathsBesideItems(source: Source): ReadonlySet<string> {
  return new Set([
    ADMIN_METADATA,
    STRUCTURE,
    DTOOL_README,
    README,
    MANIFEST,
    ...source.tags.map((tag) => TAGS + tag),
    ...Array.from(source.annotations.keys(), (name) => `${ANNOTATIONS}${name}.json`),
    ...Array.from(source.overlays.keys(), (name) => `${OVERLAYS}${name}.json`),
  ]);
}

async function missingKeys(
  { store, keyPrefix, plan, md5s, signal }: CommittedOptions,
  present: PresentObjects,
): Promise<string[]> {
  const missing = [...pathsBesideItems(plan.source)]
    .filter((path) => !present.others.has(path))
    .map((path) => keyPrefix + path);
  // What is the same in every dataset tells whether this store's ETags are MD5s: on encrypting stores they are not.
  const areMd5s = present.others.get(DTOOL_README)?.etag === md5Hex(Buffer.from(DTOOL_README_TXT));
  for (const item of plan.source.items) {
    if (item.index % ITEMS_PER_TURN === 0) await setImmediate();
    const listed = present.get(item);
    const md5 = md5s.get(item) ?? '';
    const isSame = listed && (!areMd5s || listed.etag === undefined || listed.etag === md5);
    const key = itemKey(keyPrefix, item.identifier);
    if (!isSame && !(listed && (await hasChecksum(store, key, item, md5, signal)))) missing.push(key);
  }
  return missing;
}

/** Whether an object has the metadata that a freeze puts beside a content. */
async function hasChecksum(
  store: ObjectStore,
  key: string,
  { relpath }: SourceItem,
  md5: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const { metadata } = await store.head(key, { priority: 'background', signal });
    const expected = itemMetadata(relpath, md5);
    return metadata['handle'] === expected.handle && metadata['checksum'] === expected.checksum;
  } catch (error) {
    if (error instanceof StoreError && error.reason === 'no-such-key') return false;
    throw error;
  }
}

/** A dataset was committed, and then some of it was not there. */
export class DatasetIncomplete extends UserError {
  constructor(
    bucket: string,
    uuid: DatasetUuid,
    { missing, first }: Extract<Verdict, { state: 'incomplete' }>,
  ) {
    const objects = missing === 1 ? '1 object is' : `${missing} objects are`;
    super(
      `dataset ${uuid} in bucket ${bucket} was committed, but ${objects} missing or changed, such as ${first}; ` +
        'what it was made of stays',
      'Freeze it again: only that is sent.',
    );
  }
}

/** Somebody has discarded the dataset that a freeze was writing. */
export class DatasetDiscarded extends UserError {
  constructor(bucket: string, uuid: DatasetUuid, advice = 'Freeze again: it becomes a new dataset.') {
    super(
      `dataset ${uuid} in bucket ${bucket} was discarded while it was being frozen; what it was made of stays`,
      advice,
    );
  }
}

/** Somebody discards the dataset that a freeze was writing, and may still give way to it. */
export class DiscardUnderWay extends UserError {
  constructor(bucket: string, uuid: DatasetUuid) {
    super(
      `dataset ${uuid} in bucket ${bucket} is being discarded from elsewhere; what it was made of stays`,
      'Freeze again once that has ended. If it never will, freeze a copy of the folder.',
    );
  }
}

/** The error for a look that has not found the dataset whole. */
export function lostError(
  bucket: string,
  uuid: DatasetUuid,
  verdict: Exclude<Verdict, { state: 'whole' }>,
): UserError {
  switch (verdict.state) {
    case 'incomplete':
      return new DatasetIncomplete(bucket, uuid, verdict);
    case 'contested':
      return new DiscardUnderWay(bucket, uuid);
    case 'discarded':
    default:
      return new DatasetDiscarded(bucket, uuid);
  }
}

/** Whether an error says that a dataset was committed and is not whole, or may not stay so. */
export function isLost(error: unknown): boolean {
  return [DatasetIncomplete, DatasetDiscarded, DiscardUnderWay].some((kind) => error instanceof kind);
}
