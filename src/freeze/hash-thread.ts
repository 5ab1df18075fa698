/** A thread that finds the MD5 of files: it gets a path, and posts the digests or what went wrong. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { FREEZE_READ_BYTES } from '../limits.ts';
import type { HashReply, HashRequest, PartedMd5 } from './file-hasher.ts';

const buffer = Buffer.allocUnsafe(FREEZE_READ_BYTES);

function md5Of({ path, partBytes = Infinity }: HashRequest): PartedMd5 {
  // A FIFO that took the file's place would hold the thread for ever.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const whole = createHash('md5');
    const partMd5s: Buffer[] = [];
    let part = createHash('md5');
    let partLength = 0;
    for (;;) {
      const length = readSync(file, buffer, 0, Math.min(buffer.length, partBytes - partLength), null);
      const piece = buffer.subarray(0, length);
      whole.update(piece);
      if (partBytes !== Infinity) part.update(piece);
      partLength += length;
      if (partLength === partBytes || (length === 0 && partLength > 0 && partBytes !== Infinity)) {
        partMd5s.push(part.digest());
        part = createHash('md5');
        partLength = 0;
      }
      if (length === 0) return { md5: whole.digest('hex'), partMd5s: Buffer.concat(partMd5s) };
    }
  } finally {
    closeSync(file);
  }
}

parentPort?.on('message', (request: HashRequest) => {
  let reply: HashReply;
  try {
    reply = md5Of(request);
  } catch (error) {
    reply = { error: messageOf(error) };
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(reply);
});
