import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { BLOCK_BYTES, FILLED_CACHE_PARTS } from '../limits.ts';
import type { BlockCache } from './block-cache.ts';
import type { Content } from './block-key.ts';

/**
 * Puts contents into the cache that are in local files, so that nobody need fetch what was uploaded from here a moment
 * ago. Takes them in order as long as they fit into one of {@link FILLED_CACHE_PARTS} of the cache, each whole or not
 * at all; a file that is not what the content's MD5 says is left out.
 *
 * @throws what opening or reading a file throws
 */
export async function fillFromFiles(
  cache: BlockCache,
  store: { readonly bucket: string },
  files: Iterable<{ readonly content: Content; readonly open: () => Promise<FileHandle> }>,
): Promise<void> {
  let bytesLeft = cache.statistics.maxBytes / FILLED_CACHE_PARTS;
  for (const { content, open } of files) {
    if (bytesLeft < BLOCK_BYTES) return;
    if (content.size === 0 || content.size > bytesLeft || content.md5 === undefined) continue;
    const { blocks, md5 } = await readBlocks(open, content.size);
    if (md5 !== content.md5) continue;
    blocks.forEach((block, number) => cache.insertLocal(store, content, number, block));
    bytesLeft -= content.size;
  }
}

/** The first bytes of a file, with their MD5 in hex; the last block is short where the file is. */
async function readBlocks(
  open: () => Promise<FileHandle>,
  size: number,
): Promise<{ readonly blocks: readonly Uint8Array[]; readonly md5: string }> {
  await using file: FileHandle = await open();
  const blocks: Uint8Array[] = [];
  const hash = createHash('md5');
  for (let offset = 0; offset < size; offset += BLOCK_BYTES) {
    const buffer = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, size - offset));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    const block = buffer.subarray(0, bytesRead);
    hash.update(block);
    blocks.push(block);
  }
  return { blocks, md5: hash.digest('hex') };
}
