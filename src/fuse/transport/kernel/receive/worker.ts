import { closeSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { messageOf } from '../../../../errors.ts';
import type { Device } from '../device.ts';
import { ThreadProgram } from '../../../../thread-program.ts';
import { GONE, MESSAGE_MAX_BYTES, messageOver, type Receiver, type ReceiverOptions } from './receiver.ts';
import { FREE, SLOTS, STOP_WORD, createSlotMemory, type ReaderData } from './slots.ts';

const THREAD = new ThreadProgram('reader-thread', import.meta.url);

/** Reads the device in a thread of its own, with nothing but what Node documents. */
export function receiveByWorker(options: ReceiverOptions): Receiver {
  const { device, log } = options;
  const memory = createSlotMemory();
  const state = new Int32Array(memory.words);
  const slots = Array.from({ length: SLOTS }, (_, slot) =>
    messageOver(memory.messages, slot * MESSAGE_MAX_BYTES),
  );
  const workerData: ReaderData = { ...memory, fd: device.fd };
  const worker = THREAD.start({ workerData, name: 'fuse-reader' });
  let turn = 0;
  worker.on('message', (result: number | string) => {
    const slot = turn;
    turn = (turn + 1) % SLOTS;
    const message = slots[slot];
    if (typeof result === 'string') {
      if (!GONE.includes(result)) log.error({ error: result }, 'reading requests failed');
    } else if (message !== undefined && result > 0) {
      options.onMessage(message, result);
    }
    Atomics.store(state, slot, FREE);
    Atomics.notify(state, slot);
  });
  worker.on('error', (error) =>
    log.error({ error: messageOf(error) }, 'the thread that reads requests failed'),
  );
  const ended = closeAfter(worker, device);
  return {
    mode: 'worker',
    ended,
    async stop() {
      // Requests are still read and answered while a notification is under way.
      await device.endNotifications();
      Atomics.store(state, STOP_WORD, 1);
      Atomics.notify(state, STOP_WORD);
      // A thread in read(2) can't be ended from outside: it wakes with a request, or with an error if the mount is gone.
      options.wake();
      return ended;
    },
  };
}

async function closeAfter(worker: Worker, device: Device): Promise<void> {
  // Not events.once: that one ends with an error of the thread, and the exit comes after it.
  await new Promise<void>((resolve) => {
    worker.once('exit', () => resolve());
  });
  await device.endNotifications();
  device.close();
  closeSync(device.fd);
}
