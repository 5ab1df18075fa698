/** A thread that finds the MD5 of files: it gets a path, and posts the digests or what went wrong. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import { FREEZE_READ_BYTES } from '../limits.ts';
import type { HashReply, HashRequest, PartedMd5 } from './file-hasher.ts';

/** One is read into while the other is hashed. */
let [next, other] = [Buffer.allocUnsafeSlow(FREEZE_READ_BYTES), Buffer.allocUnsafeSlow(FREEZE_READ_BYTES)];

async function md5Of({ path, partBytes = Infinity }: HashRequest): Promise<PartedMd5> {
  // A FIFO that took the file's place would hold the thread for ever.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const whole = createHash('md5');
  const partMd5s: Buffer[] = [];
  let part = createHash('md5');
  let partLength = 0;
  /** No piece goes over the end of a part. */
  const read = (): Promise<{ readonly bytesRead: number }> => {
    [next, other] = [other, next];
    return file.read(next, 0, Math.min(next.length, partBytes - partLength), null);
  };
  for (let reading = read(); ; ) {
    const { bytesRead } = await reading;
    const piece = next.subarray(0, bytesRead);
    partLength += bytesRead;
    const isPartEnd = partLength === partBytes || (bytesRead === 0 && partLength > 0);
    if (isPartEnd) partLength = 0;
    if (bytesRead > 0) reading = read();
    whole.update(piece);
    if (partBytes !== Infinity) {
      part.update(piece);
      if (isPartEnd) {
        partMd5s.push(part.digest());
        part = createHash('md5');
      }
    }
    if (bytesRead === 0) return { md5: whole.digest('hex'), partMd5s: Buffer.concat(partMd5s) };
  }
}

async function answer(request: HashRequest): Promise<void> {
  const reply: HashReply = await md5Of(request).catch((error: unknown) => ({ error: messageOf(error) }));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(reply);
}

parentPort?.on('message', (request: HashRequest) => void answer(request));
