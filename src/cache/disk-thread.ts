/** A thread that does what takes long in the disk cache: it gets a task and posts what came of it. */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import * as tasks from './disk-tasks.ts';
import type { DiskReply, DiskRequest } from './threaded-disk-tasks.ts';

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what starts it gives this
const { lowPriority } = workerData as { readonly lowPriority: boolean };
try {
  // On Linux this is the thread's alone.
  if (lowPriority && process.platform === 'linux') setPriority(0, 10);
} catch {
  // As it was is good enough.
}

function perform(request: DiskRequest): unknown {
  switch (request.task) {
    case 'trim':
      return tasks.trim(request.directory, request.maxBytes);
    case 'verify':
      return tasks.verify(request.directory, request.content, request.again);
    case 'present':
      return tasks.present(request.directory, request.contents);
    case 'evict':
      return tasks.evict(request.directory, request.contents);
    default:
      throw new Error(`no task: ${JSON.stringify(request)}`);
  }
}

parentPort?.on('message', ({ id, request }: { readonly id: number; readonly request: DiskRequest }) => {
  let reply: DiskReply;
  try {
    reply = { id, result: perform(request) };
  } catch (error) {
    reply = { id, error: messageOf(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(reply);
});
