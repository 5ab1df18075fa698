/** A thread that finds the MD5 of files: it gets a path, and posts the digest in hex or what went wrong. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { FREEZE_READ_BYTES } from '../limits.ts';
import type { HashReply } from './file-hasher.ts';

const buffer = Buffer.allocUnsafe(FREEZE_READ_BYTES);

function md5Of(path: string): string {
  // A FIFO that took the file's place would hold the thread for ever.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const hash = createHash('md5');
    for (;;) {
      const length = readSync(file, buffer, 0, buffer.length, null);
      if (length === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, length));
    }
  } finally {
    closeSync(file);
  }
}

parentPort?.on('message', (path: string) => {
  let reply: HashReply;
  try {
    reply = { md5: md5Of(path) };
  } catch (error) {
    reply = { error: messageOf(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(reply);
});
