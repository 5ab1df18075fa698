import PQueue from 'p-queue';
import { FsError } from '../../errors.ts';
import { MANIFEST_THREADS_MAX } from '../../limits.ts';
import { ThreadProgram } from '../../thread-program.ts';
import { FormatError, type ObjectAddress } from './format-error.ts';
import type { ThreadReply } from './manifest-thread.ts';
import { type PackedManifest, packManifestText } from './pack-manifest.ts';

const THREAD = new ThreadProgram('manifest-thread', import.meta.url);

/** Over the whole process: others wait for their turn. */
const queue = new PQueue({ concurrency: MANIFEST_THREADS_MAX });

/**
 * Reads a manifest in a thread of its own, which is gone afterwards, and with it what the work took of memory.
 *
 * @param chunks of the text; their memory may move to the thread
 * @throws FormatError that names the first item and field that are wrong; what the chunks throw; the signal's reason
 */
export async function parseInThread(
  chunks: AsyncIterable<Uint8Array>,
  where: ObjectAddress,
  signal?: AbortSignal,
): Promise<PackedManifest> {
  const work = THREAD.canRun ? run : runHere;
  return queue.add(async () => work(chunks, where, signal), signal ? { signal } : {});
}

async function run(
  chunks: AsyncIterable<Uint8Array>,
  where: ObjectAddress,
  signal: AbortSignal | undefined,
): Promise<PackedManifest> {
  signal?.throwIfAborted();
  const arrivals = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const thread = THREAD.start({ name: 'manifest', workerData: arrivals.buffer });
  const iterator = chunks[Symbol.asyncIterator]();
  const feed = async (): Promise<void> => {
    const next = await iterator.next();
    if (next.done) thread.postMessage(null, []);
    else {
      const chunk = next.value;
      const isAlone = chunk.byteLength === chunk.buffer.byteLength && chunk.buffer instanceof ArrayBuffer;
      thread.postMessage(chunk, isAlone ? [chunk.buffer] : []);
    }
    Atomics.add(arrivals, 0, 1);
    Atomics.notify(arrivals, 0);
  };
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise<PackedManifest>((resolve, reject) => {
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      thread.on('message', (reply: ThreadReply) => {
        if (reply.kind === 'more') feed().catch(reject);
        else if (reply.kind === 'manifest') resolve(reply.manifest);
        else if (reply.kind === 'flaw') reject(new FormatError(where, reply.flaw));
        else reject(new FsError('EIO', `${where.bucket}/${where.key}: ${reply.message}`));
      });
      thread.on('error', reject);
      thread.on('exit', () =>
        reject(new FsError('EIO', `${where.bucket}/${where.key}: the thread that read it has ended`)),
      );
    });
  } finally {
    if (onAbort) signal?.removeEventListener('abort', onAbort);
    await Promise.all([thread.terminate(), iterator.return?.()]);
  }
}

async function runHere(chunks: AsyncIterable<Uint8Array>, where: ObjectAddress): Promise<PackedManifest> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  const packed = packManifestText(() => parts.shift());
  if ('flaw' in packed) throw new FormatError(where, packed.flaw);
  return packed;
}
