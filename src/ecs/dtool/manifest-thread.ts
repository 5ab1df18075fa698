/**
 * A thread that reads one manifest. It asks for each chunk with a message and waits for the count in `workerData` to
 * rise when there is none; at the end it posts a {@link ThreadReply} and is gone.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../errors.ts';
import { type PackedManifest, packManifestText } from './pack-manifest.ts';

/** What the thread says: that it wants a chunk (or null, the end), what it has found, or what went wrong. */
export type ThreadReply =
  | { readonly kind: 'more' }
  | { readonly kind: 'manifest'; readonly manifest: PackedManifest }
  | { readonly kind: 'flaw'; readonly flaw: string }
  | { readonly kind: 'failure'; readonly message: string };

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what ManifestThreads passes
const arrivals = new Int32Array(workerData as SharedArrayBuffer);

function nextChunk(): Uint8Array | undefined {
  tell({ kind: 'more' });
  for (;;) {
    const seen = Atomics.load(arrivals, 0);
    const received = parentPort && receiveMessageOnPort(parentPort);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what ManifestThreads posts
    if (received) return (received.message as Uint8Array | null) ?? undefined;
    Atomics.wait(arrivals, 0, seen);
  }
}

function tell(reply: ThreadReply, transfer: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(reply, transfer);
}

/** The memory of all columns, which moves to the one who gets them. */
function buffersOf(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(buffersOf);
}

try {
  const manifest = packManifestText(nextChunk);
  if ('flaw' in manifest) tell({ kind: 'flaw', flaw: manifest.flaw });
  else tell({ kind: 'manifest', manifest }, buffersOf(manifest));
} catch (error) {
  tell({ kind: 'failure', message: messageOf(error) });
}
