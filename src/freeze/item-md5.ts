import { createHash } from 'node:crypto';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_BUFFERED_MAX_BYTES, FREEZE_UPLOADS_MAX } from '../limits.ts';
import type { FileHasher } from './file-hasher.ts';
import { assertUnchanged, readSourceFile, type SourceFile } from './source-file.ts';
import type { ItemTable, SourceItem } from './item-table.ts';

const MD5_BYTES = 16;

/** The MD5s of the items of one table, as far as they are known; packed. */
export class ItemMd5s {
  readonly #digests: Buffer;
  readonly #known: Uint8Array;

  /** @param length of the table */
  constructor(length: number) {
    this.#digests = Buffer.alloc(length * MD5_BYTES);
    this.#known = new Uint8Array(length);
  }

  /** In hex. */
  get({ index }: SourceItem): string | undefined {
    if (this.#known[index] !== 1) return undefined;
    return this.#digests.toString('hex', index * MD5_BYTES, (index + 1) * MD5_BYTES);
  }

  /** @param md5 in hex */
  set({ index }: SourceItem, md5: string): void {
    this.#digests.write(md5, index * MD5_BYTES, 'hex');
    this.#known[index] = 1;
  }
}

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
  const md5 = await hasher.md5(item, signal);
  await assertUnchanged(item);
  return md5;
}

/**
 * The MD5s of all items.
 *
 * @param onItem called after each
 */
export async function hashItems(
  items: ItemTable,
  hasher: FileHasher,
  signal: AbortSignal,
  onItem: (item: SourceItem) => void,
): Promise<ItemMd5s> {
  const md5s = new ItemMd5s(items.length);
  const hashOne = async (item: SourceItem, taskSignal: AbortSignal): Promise<void> => {
    md5s.set(item, await itemMd5(item, hasher, taskSignal));
    onItem(item);
  };
  await forEachBounded(items, FREEZE_UPLOADS_MAX, hashOne, signal);
  return md5s;
}
