import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { client, raw, start, temporaryDirectory } from './support.ts';

const number = fc.oneof(
  fc.nat(30),
  fc.constantFrom(4_194_303, 4_194_304, 4_194_305, 4_200_000, 2 ** 53, 10 ** 20),
);
const digits = number.map((n) => BigInt(n).toString());
const rangeHeader = fc.oneof(
  fc.tuple(digits, digits).map(([a, b]) => `bytes=${a}-${b}`),
  digits.map((a) => `bytes=${a}-`),
  digits.map((n) => `bytes=-${n}`),
  fc.constantFrom(
    'bytes=-',
    'bytes=',
    'items=0-1',
    'bytes=0-1,3-4',
    'bytes=a-b',
    'bytes=--1',
    'bytes=1',
    '0-1',
  ),
);

/** What RFC 9110 and S3 make of a range: the whole object, a part of it, or nothing. */
function expected(header: string, body: Buffer): { status: number; body: Buffer | undefined } {
  const range = /^bytes=(\d*)-(\d*)$/.exec(header);
  const [first = '', last = ''] = range?.slice(1) ?? [];
  if (!range || (first === '' && last === '')) return { status: 200, body };
  if (first !== '' && last !== '' && BigInt(last) < BigInt(first)) return { status: 200, body };
  const inRange = (i: bigint): boolean =>
    first === ''
      ? i >= BigInt(body.length) - BigInt(last)
      : i >= BigInt(first) && (last === '' || i <= BigInt(last));
  let from = 0;
  while (from < body.length && !inRange(BigInt(from))) from++;
  let end = body.length;
  while (end > from && !inRange(BigInt(end - 1))) end--;
  return from === end ? { status: 416, body: undefined } : { status: 206, body: body.subarray(from, end) };
}

test.each(['memory', 'directory'])(
  'any range of an object in %s is the slice of its content',
  async (storage) => {
    const directory = storage === 'directory' ? await temporaryDirectory() : undefined;
    try {
      const server = await start(directory ? { data: directory.path } : {});
      const s3 = client(server);
      // The last one is longer than what the storages handle in one piece.
      const bodies = [0, 1, 10, 4_194_310].map((size) =>
        Buffer.from(Array.from({ length: size }, (_, i) => (i * 7) % 251)),
      );
      const paths: string[] = [];
      for (const [i, body] of bodies.entries()) {
        await server.putObject('bucket', `k${i}`, body);
        const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket: 'bucket', Key: `k${i}` })));
        paths.push(url.pathname + url.search);
      }
      s3.destroy();
      const smallOnes = fc.tuple(fc.nat(2), rangeHeader);
      const bigOne = fc.tuple(
        fc.constant(3),
        fc.tuple(digits, digits).map(([a, b]) => `bytes=${a}-${b}`),
      );
      await fc.assert(
        fc.asyncProperty(fc.oneof({ weight: 9, arbitrary: smallOnes }, bigOne), async ([i, range]) => {
          const body = bodies[i] ?? Buffer.alloc(0);
          const answer = await raw(server, 'GET', paths[i] ?? '', { range });
          const want = expected(range, body);
          expect(answer.status).toBe(want.status);
          if (want.body) {
            expect(answer.body.equals(want.body)).toBe(true);
            expect(answer.headers['content-length']).toBe(String(want.body.length));
          } else
            expect([answer.code, answer.headers['content-range']]).toEqual([
              'InvalidRange',
              `bytes */${body.length}`,
            ]);
        }),
        { numRuns: 150 },
      );
    } finally {
      await directory?.remove();
    }
  },
);
