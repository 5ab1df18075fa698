import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BodySink, type ResponseHead, rangeSink, wholeSink } from '../../src/ecs/response-body.ts';
import { expectReason, pseudoRandomBytes } from '../contract/object-store.ts';

const WHERE = { bucket: 'bucket', key: 'key' };
const CONTENT = pseudoRandomBytes(200);

/** Sends a body in chunks of these sizes, over and over, until it ends or no more is wanted. */
function send(sink: BodySink, body: Buffer, sizes: readonly number[]): void {
  let from = 0;
  for (let index = 0; from < body.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    if (sink.write(body.subarray(from, from + size))) return;
    from += size;
  }
  sink.end();
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

function partial(offset: number, length: number): ResponseHead {
  const contentRange = `bytes ${offset}-${offset + length - 1}/${CONTENT.length}`;
  return { status: 206, contentLength: undefined, contentRange };
}

const WHOLE: ResponseHead = { status: 200, contentLength: CONTENT.length, contentRange: undefined };

test('any range, cut into any chunks, into any targets, from a part and from the whole object', () => {
  fc.assert(
    fc.property(range, chunkSizes, fc.boolean(), ([offset, sizes], chunks, isWhole) => {
      const length = sum(sizes);
      const wanted = CONTENT.subarray(offset, offset + length);
      const targets = sizes.map((size) => Buffer.alloc(size));
      const told: number[] = [];
      const sink = rangeSink(isWhole ? WHOLE : partial(offset, length), WHERE, offset, targets, (count) => {
        told.push(count);
        const full = Buffer.concat(targets.slice(0, count));
        expect(full.equals(wanted.subarray(0, full.length))).toBe(true);
      });
      send(sink, isWhole ? CONTENT : wanted, chunks);
      expect(told.every((count, index) => count > (told[index - 1] ?? 0) && count < targets.length)).toBe(
        true,
      );
      expect(sink.size).toBe(CONTENT.length);
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
      const sink = rangeSink(partial(offset, length), WHERE, offset, targets);
      await expectReason((async () => send(sink, Buffer.alloc(sent), chunks))(), 'bad-response');
    }),
  );
});

test('a whole body, cut into any chunks, and any truncation of it', async () => {
  await fc.assert(
    fc.asyncProperty(chunkSizes, fc.nat({ max: CONTENT.length }), async (chunks, length) => {
      const { sink, content } = wholeSink(WHOLE, WHERE, CONTENT.length);
      const sending = (async () => send(sink, CONTENT.subarray(0, length), chunks))();
      if (length < CONTENT.length) await expectReason(sending, 'bad-response');
      else {
        await sending;
        expect(content.equals(CONTENT)).toBe(true);
      }
    }),
  );
});
