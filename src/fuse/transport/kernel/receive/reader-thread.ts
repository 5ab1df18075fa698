/**
 * The thread that waits for requests where the event loop can't: blocking reads into shared memory. It posts the length
 * of each message, in the order of the slots, or the code of the error that ended it.
 */
import { readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { MESSAGE_MAX_BYTES } from './receiver.ts';
import { FULL, SLOTS, STOP_WORD, type ReaderData } from './slots.ts';

/** ENOENT and EINTR: a request was taken back while it was read. EAGAIN: the descriptor does not block. */
const AGAIN: readonly unknown[] = ['ENOENT', 'EINTR', 'EAGAIN'];
/** Between two tries of a descriptor that does not block; there is nothing here to wait with. */
const RETRY_MS = 1;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- worker.ts starts this thread and says so
const { fd, messages, words } = workerData as ReaderData;
const bytes = new Uint8Array(messages);
const state = new Int32Array(words);

function readMessage(slot: number): number | string {
  for (;;) {
    try {
      return readSync(fd, bytes, slot * MESSAGE_MAX_BYTES, MESSAGE_MAX_BYTES, null);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (!AGAIN.includes(code)) return String(code ?? error);
      if (code === 'EAGAIN') Atomics.wait(state, STOP_WORD, 0, RETRY_MS);
      if (Atomics.load(state, STOP_WORD) !== 0) return 'ENODEV';
    }
  }
}

for (let slot = 0; Atomics.load(state, STOP_WORD) === 0; slot = (slot + 1) % SLOTS) {
  Atomics.wait(state, slot, FULL);
  const result = readMessage(slot);
  Atomics.store(state, slot, FULL);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is of windows, this is a thread
  parentPort?.postMessage(result);
  if (typeof result === 'string' || result === 0) break;
}
