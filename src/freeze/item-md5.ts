import { createHash } from 'node:crypto';
import type { ItemIdentifier } from '../ecs/dtool/identifier.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_BUFFERED_MAX_BYTES, FREEZE_UPLOADS_MAX } from '../limits.ts';
import type { FileHasher } from './file-hasher.ts';
import { assertUnchanged, readSourceFile, type SourceFile } from './source-file.ts';
import type { SourceItem } from './walk.ts';

/** MD5s in hex by item, as far as they are known. */
export type ItemMd5s = Map<ItemIdentifier, string>;

export function md5Hex(content: Uint8Array): string {
  return createHash('md5').update(content).digest('hex');
}

/** Whether a file is read into memory as a whole. */
export function isBuffered(file: SourceFile): boolean {
  return file.size <= FREEZE_BUFFERED_MAX_BYTES;
}

/**
 * The MD5 of an item's content, in hex.
 *
 * @throws SourceChangedError when the file is not what it was
 */
export async function itemMd5(item: SourceItem, hasher: FileHasher, signal: AbortSignal): Promise<string> {
  if (isBuffered(item)) return md5Hex(await readSourceFile(item));
  await assertUnchanged(item);
  const md5 = await hasher.md5(item.path, signal);
  await assertUnchanged(item);
  return md5;
}

/**
 * The MD5s of all items.
 *
 * @param onItem called after each
 */
export async function hashItems(
  items: readonly SourceItem[],
  hasher: FileHasher,
  signal: AbortSignal,
  onItem: (item: SourceItem) => void,
): Promise<ItemMd5s> {
  const md5s: ItemMd5s = new Map();
  const hashOne = async (item: SourceItem, taskSignal: AbortSignal): Promise<void> => {
    md5s.set(item.identifier, await itemMd5(item, hasher, taskSignal));
    onItem(item);
  };
  await forEachBounded(items, FREEZE_UPLOADS_MAX, hashOne, signal);
  return md5s;
}
