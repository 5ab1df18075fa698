import { createHash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { type ObjectInfo, type ObjectStore, type RequestOptions, StoreError } from '../ecs/object-store.ts';
import { retryDelayMs } from '../ecs/retrying-object-store.ts';
import { FsError, type FsErrorCode } from '../errors.ts';
import { BLOCK_BYTES, SHORT_TRIES_MAX } from '../limits.ts';
import type { Content } from './block-key.ts';
import type { BlockMemory } from './block-memory.ts';

export interface LoadOptions extends RequestOptions {
  readonly signal: AbortSignal;
  /** Where the blocks are put. */
  readonly memory: BlockMemory;
  /**
   * Has every block as soon as its last byte is there, each once; what it throws ends the request. The block is its for
   * the time of the call, and longer if it holds it.
   */
  readonly onBlock: (number: number, block: Uint8Array) => void;
}

/** An answer that is well-formed, and of another object than the content. */
class ContradictionError extends FsError {}

/**
 * Fetches neighbouring blocks, and makes sure that the object is the content as far as that shows: its size, its ETag
 * where one is known, its MD5 where it is one block. Something between us and the store may have answered wrongly, so an
 * answer that contradicts size or MD5 is believed when it was given {@link SHORT_TRIES_MAX} times.
 *
 * @param run numbers that follow each other
 * @throws FsError EIO when the object is missing or is not this content, ESTALE instead when the content has an ETag;
 *   StoreError when it can't be had
 */
export async function fetchBlocks(
  store: ObjectStore,
  content: Content,
  run: readonly number[],
  { clock, onBlock, ...options }: LoadOptions & { readonly clock: Clock },
): Promise<void> {
  let left = run;
  const take: LoadOptions['onBlock'] = (number, block) => {
    onBlock(number, block);
    left = left.slice(1);
  };
  for (let failed = 1; ; failed += 1) {
    try {
      return await fetchOnce(store, content, left, { ...options, onBlock: take });
    } catch (error) {
      if (!(error instanceof ContradictionError) || failed >= SHORT_TRIES_MAX) throw error;
      await clock.sleep(retryDelayMs(failed, Math.random()), options.signal).catch((reason: unknown) => {
        options.signal.throwIfAborted();
        throw reason;
      });
    }
  }
}

async function fetchOnce(
  store: ObjectStore,
  content: Content,
  run: readonly number[],
  { onBlock, memory, ...options }: LoadOptions,
): Promise<void> {
  const offset = (run[0] ?? 0) * BLOCK_BYTES;
  const blocks = run.map((number) => ({
    number,
    buffer: memory.take(Math.min(BLOCK_BYTES, content.size - number * BLOCK_BYTES), run),
  }));
  const buffers = blocks.map(({ buffer }) => buffer);
  let handed = 0;
  const onFilled = (count: number, info: ObjectInfo): void => {
    verify(store, content, info, buffers);
    const filled = blocks.slice(handed, count);
    handed = count;
    for (const { number, buffer } of filled) {
      onBlock(number, buffer);
      // Those that nobody hears of, since the request fails, are not used again: nothing is to be proved of it then.
      memory.release(buffer, run);
    }
  };
  try {
    onFilled(run.length, await store.getRange(content.key, offset, buffers, { ...options, onFilled }));
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.reason === 'no-such-key') throw altered(store, content, 'is missing', error);
    // The store's words tell how long it is.
    if (error.reason === 'short') throw new FsError(alteredCode(content), error.message, { cause: error });
    // Whatever else the store means by it, the file is there: its name was found.
    if (error.code === 'ENOENT') throw new FsError('EIO', error.message, { cause: error });
    throw error;
  }
}

function verify(
  store: ObjectStore,
  content: Content,
  info: ObjectInfo,
  buffers: readonly Uint8Array[],
): void {
  if (content.etag !== undefined && info.etag !== content.etag) {
    throw altered(store, content, 'has another ETag');
  }
  if (info.size !== content.size) {
    throw contradiction(store, content, `has ${info.size} bytes and should have ${content.size}`);
  }
  const [whole] = buffers;
  if (content.md5 !== undefined && whole?.length === content.size) {
    const md5 = createHash('md5').update(whole).digest('hex');
    if (md5 !== content.md5)
      throw contradiction(store, content, `has MD5 ${md5} and should have ${content.md5}`);
  }
}

/** What has an ETag may be replaced and is then to be looked up anew; anything else is damaged. */
function alteredCode(content: Content): FsErrorCode {
  return content.etag === undefined ? 'EIO' : 'ESTALE';
}

function contradiction(store: { readonly bucket: string }, content: Content, what: string): FsError {
  const { code, message } = altered(store, content, what);
  return new ContradictionError(code, message);
}

/** The error of an object that is not the content that it should be. */
export function altered(
  store: { readonly bucket: string },
  content: Content,
  what: string,
  cause?: unknown,
): FsError {
  return new FsError(alteredCode(content), `${store.bucket}/${content.key}: the object ${what}`, { cause });
}
