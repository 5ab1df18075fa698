import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { receiveRange, receiveWhole, type BodyResponse } from '../../src/ecs/response-body.ts';
import { expectReason, pseudoRandomBytes } from '../contract/object-store.ts';

const WHERE = { bucket: 'bucket', key: 'key' };
const CONTENT = pseudoRandomBytes(200);

/** Cuts a body into chunks of these sizes, over and over. */
function inChunks(body: Buffer, sizes: readonly number[]): BodyResponse['body'] {
  return (async function* () {
    let from = 0;
    for (let index = 0; from < body.length; index++) {
      const size = sizes[index % sizes.length] ?? 1;
      yield body.subarray(from, from + size);
      from += size;
    }
  })();
}

const chunkSizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });
const targetSizes = fc
  .array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 5 })
  .filter((sizes) => sizes.some((size) => size > 0));
const range = fc
  .tuple(fc.nat({ max: CONTENT.length - 1 }), targetSizes)
  .filter(([offset, sizes]) => offset + sum(sizes) <= CONTENT.length);

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function partial(offset: number, length: number, body: BodyResponse['body']): BodyResponse {
  const contentRange = `bytes ${offset}-${offset + length - 1}/${CONTENT.length}`;
  return { status: 206, contentLength: undefined, contentRange, body };
}

function whole(body: BodyResponse['body']): BodyResponse {
  return { status: 200, contentLength: CONTENT.length, contentRange: undefined, body };
}

test('any range, cut into any chunks, into any targets, from a part and from the whole object', async () => {
  await fc.assert(
    fc.asyncProperty(range, chunkSizes, fc.boolean(), async ([offset, sizes], chunks, isWhole) => {
      const length = sum(sizes);
      const wanted = CONTENT.subarray(offset, offset + length);
      const targets = sizes.map((size) => Buffer.alloc(size));
      const response = isWhole
        ? whole(inChunks(CONTENT, chunks))
        : partial(offset, length, inChunks(wanted, chunks));
      expect(await receiveRange(response, WHERE, offset, targets)).toBe(CONTENT.length);
      expect(Buffer.concat(targets).equals(wanted)).toBe(true);
    }),
  );
});

test('a body with any other number of bytes is refused', async () => {
  await fc.assert(
    fc.asyncProperty(range, chunkSizes, fc.nat({ max: 300 }), async ([offset, sizes], chunks, sent) => {
      const length = sum(sizes);
      fc.pre(sent !== length);
      const targets = sizes.map((size) => Buffer.alloc(size));
      const response = partial(offset, length, inChunks(Buffer.alloc(sent), chunks));
      await expectReason(receiveRange(response, WHERE, offset, targets), 'bad-response');
    }),
  );
});

test('a whole body, cut into any chunks, and any truncation of it', async () => {
  await fc.assert(
    fc.asyncProperty(chunkSizes, fc.nat({ max: CONTENT.length }), async (chunks, length) => {
      const response = whole(inChunks(CONTENT.subarray(0, length), chunks));
      const received = receiveWhole(response, WHERE, CONTENT.length);
      if (length === CONTENT.length) expect((await received).equals(CONTENT)).toBe(true);
      else await expectReason(received, 'bad-response');
    }),
  );
});
