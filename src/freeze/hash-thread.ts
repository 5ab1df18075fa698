/** A thread that finds the MD5 of files: it gets a descriptor, and posts the digests or what went wrong. */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { parentPort } from 'node:worker_threads';
import { messageOf } from '../errors.ts';
import type { HashReply, HashRequest, PartedMd5 } from './file-hasher.ts';
import { filePieces, type ReadableFile } from './file-pieces.ts';

const read = promisify(fs.read);

async function md5Of({ fd, partBytes = Infinity }: HashRequest): Promise<PartedMd5> {
  const file: ReadableFile = {
    read: (buffer, offset, length, position) => read(fd, buffer, offset, length, position),
  };
  const whole = createHash('md5');
  const partMd5s: Buffer[] = [];
  let part = createHash('md5');
  let partLength = 0;
  const endPart = (): void => {
    partMd5s.push(part.digest());
    part = createHash('md5');
    partLength = 0;
  };
  for await (const piece of filePieces(file, 0, Infinity)) {
    whole.update(piece);
    if (partBytes === Infinity) continue;
    for (let rest = piece; rest.length > 0; ) {
      const head = rest.subarray(0, partBytes - partLength);
      part.update(head);
      partLength += head.length;
      if (partLength === partBytes) endPart();
      rest = rest.subarray(head.length);
    }
  }
  if (partLength > 0) endPart();
  return { md5: whole.digest('hex'), partMd5s: Buffer.concat(partMd5s) };
}

async function answer(request: HashRequest): Promise<void> {
  const reply: HashReply = await md5Of(request).catch((error: unknown) => ({ error: messageOf(error) }));
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has none
  parentPort?.postMessage(reply);
}

parentPort?.on('message', (request: HashRequest) => void answer(request));
