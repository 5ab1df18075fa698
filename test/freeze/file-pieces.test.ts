import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filePieces, type ReadableFile } from '../../src/freeze/file-pieces.ts';
import { FREEZE_READ_BYTES } from '../../src/limits.ts';
import { randomBytesOf } from '../support/datasets.ts';

const content = randomBytesOf(1, 3 * FREEZE_READ_BYTES + 5);
let directory: string;
let path: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-'));
  path = join(directory, 'file');
  await writeFile(path, content);
});

afterAll(async () => rm(directory, { recursive: true }));

test('any range, in pieces that are overwritten only when the next is asked for', async () => {
  const position = fc.oneof(
    fc.constantFrom(0, FREEZE_READ_BYTES, 2 * FREEZE_READ_BYTES, content.length, content.length + 9),
    fc.nat(content.length),
    fc.constant(Infinity),
  );
  await using file = await open(path);
  await fc.assert(
    fc.asyncProperty(position, position, async (a, b) => {
      const [start, end] = [Math.min(a, b, content.length), Math.max(a, b)];
      const pieces: Buffer[] = [];
      for await (const piece of filePieces(file, start, end)) {
        // Whoever reads ahead has done so by now.
        await file.read(Buffer.alloc(1), 0, 1, 0);
        pieces.push(Buffer.from(piece));
      }
      expect(Buffer.concat(pieces).equals(content.subarray(start, end))).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test('what a read ahead fails with is told when it is its turn', async () => {
  const failure = new Error('disk on fire');
  const pieces = filePieces(readsOf(4, failure), 0, 100);
  const first = await pieces.next();
  expect(first.value?.length).toBe(4);
  // Long enough for a rejection that nobody has taken on to end the process.
  await setImmediate();
  await setImmediate();
  await expect(pieces.next()).rejects.toBe(failure);
});

test('who gives up waits for the read under way, and no longer', async () => {
  let finish = (): void => {};
  const second = new Promise<number>((resolve) => {
    finish = () => resolve(4);
  });
  const pieces = filePieces(readsOf(4, second), 0, 100);
  await pieces.next();
  let isOver = false;
  const over = pieces.return().finally(() => {
    isOver = true;
  });
  await setImmediate();
  expect(isOver).toBe(false);
  finish();
  await over;
});

/** A file whose reads give so many bytes, or fail, one after the other. */
function readsOf(...results: (number | Promise<number> | Error)[]): ReadableFile {
  return {
    read: async () => {
      const result = results.shift();
      if (result instanceof Error) throw result;
      return { bytesRead: (await result) ?? 0 };
    },
  };
}
