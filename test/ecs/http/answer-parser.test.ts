import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AnswerHead, AnswerParser, HttpSyntaxError } from '../../../src/ecs/http/answer-parser.ts';
import { HTTP_HEAD_MAX_BYTES, HTTP_INTERIM_ANSWERS_MAX } from '../../../src/limits.ts';

/** What a listener has heard. */
interface Heard {
  head?: AnswerHead;
  body: Buffer;
  ends: number;
}

/**
 * Sends bytes in pieces of these sizes, over and over; every other piece that is nothing but body does not pass through
 * the parser when `lands`.
 */
function parse(bytes: Buffer, sizes: readonly number[], method: 'GET' | 'HEAD' = 'GET', lands = false) {
  const parser = new AnswerParser();
  const heard: Heard = { body: Buffer.of(), ends: 0 };
  parser.expect(method, {
    onHead: (head) => {
      heard.head = head;
    },
    onData: (data) => {
      heard.body = Buffer.concat([heard.body, data]);
    },
    onEnd: () => {
      heard.ends += 1;
    },
  });
  for (let from = 0, index = 0; from < bytes.length && heard.ends === 0; index += 1) {
    // A buffer that is used again, as a connection's is.
    const piece = Buffer.from(bytes.subarray(from, from + (sizes[index % sizes.length] ?? 1)));
    if (lands && index % 2 === 0 && parser.room >= piece.length) {
      heard.body = Buffer.concat([heard.body, piece]);
      parser.landed(piece.length);
    } else parser.push(piece);
    from += piece.length;
    piece.fill('?');
  }
  return { parser, heard };
}

const sizes = fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 5 });
const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const field = (value: string): Buffer => Buffer.from(`X-Field:\t ${value} \r\n`);

test('an answer with a length, in chunks, and up to the end, cut anywhere', () => {
  fc.assert(
    fc.property(
      body,
      sizes,
      fc.constantFrom('length', 'chunks', 'end'),
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (content, cuts, framing, chunkSizes, lands) => {
        const parts: Buffer[] = [
          Buffer.from('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Part\r\n'),
          field('grün'),
        ];
        if (framing === 'length')
          parts.push(Buffer.from(`Content-Length: ${content.length}\r\n\r\n`), content);
        else if (framing === 'end') parts.push(Buffer.from('\r\n'), content);
        else {
          parts.push(Buffer.from('Transfer-Encoding: Chunked\r\n\r\n'));
          for (let from = 0, index = 0; from < content.length; index += 1) {
            const chunk = content.subarray(from, from + (chunkSizes[index % chunkSizes.length] ?? 1));
            parts.push(Buffer.from(`${chunk.length.toString(16)};x=y\r\n`), chunk, Buffer.from('\r\n'));
            from += chunk.length;
          }
          parts.push(Buffer.from('0\r\nX-Trailer: x\r\n\r\n'));
        }
        const { parser, heard } = parse(Buffer.concat(parts), cuts, 'GET', lands);
        if (framing === 'end') {
          expect(heard.ends).toBe(0);
          expect(parser.close()).toBe(true);
        }
        expect(heard.head?.status).toBe(206);
        expect(heard.head?.fields[0]).toEqual(['x-field', 'grün']);
        expect(heard.body.equals(content)).toBe(true);
        expect(heard.ends).toBe(1);
        expect(parser.isIdle).toBe(true);
        expect(parser.keepsAlive).toBe(framing !== 'end');
      },
    ),
  );
});

test('any answer that is cut short has no end', () => {
  const answer = Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
  for (let length = 0; length < answer.length; length += 1) {
    const { parser, heard } = parse(answer.subarray(0, length), [7]);
    expect({ length, ends: heard.ends, isEnd: parser.close() }).toEqual({ length, ends: 0, isEnd: false });
  }
});

test.each([
  ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'],
  ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n'],
  ['GET', 'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n'],
] as const)('%s, %j has no body', (method, answer) => {
  expect(parse(Buffer.from(answer), [1_000], method).heard).toMatchObject({ ends: 1, body: Buffer.of() });
});

test.each([
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', true, undefined],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n', false, undefined],
  ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', false, undefined],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: max=9, timeout=5\r\n\r\n', true, 5_000],
  ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', false, undefined],
])('after %j the connection is kept: %j, for %s', (answer, keepsAlive, keepAliveMs) => {
  const { parser } = parse(Buffer.from(answer), [1_000]);
  expect({ keepsAlive: parser.keepsAlive, keepAliveMs: parser.keepAliveMs }).toEqual({
    keepsAlive,
    keepAliveMs,
  });
});

describe('what is no answer', () => {
  const head = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`;
  test.each([
    'SSH-2.0-OpenSSH_9.2\r\n',
    'HTTP/2 200\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    head('No colon'),
    head(': no name'),
    head('Name : value'),
    head('Name: value\r\n folded'),
    head('Content-Length: 5\r\nContent-Length: 6'),
    head('Content-Length: -5'),
    head('Content-Length: 5, 5'),
    head('Content-Length: 0x5'),
    head('Content-Length: 99999999999999999999'),
    head('Transfer-Encoding: gzip, chunked'),
    `${head('Transfer-Encoding: chunked')}x\r\n`,
    `${head('Transfer-Encoding: chunked')}\r\n`,
    `${head('Transfer-Encoding: chunked')}2\r\nabc\r\n`,
    `${head('Content-Length: 1')}ab`,
    `HTTP/1.1 200 ${'x'.repeat(HTTP_HEAD_MAX_BYTES)}`,
    'HTTP/1.1 102 Processing\r\n\r\n'.repeat(HTTP_INTERIM_ANSWERS_MAX + 1),
    `${head('Transfer-Encoding: chunked')}0\r\n${'a: b\r\n'.repeat(HTTP_HEAD_MAX_BYTES / 6 + 1)}`,
    `${head('Transfer-Encoding: chunked')}1;${'x'.repeat(HTTP_HEAD_MAX_BYTES)}`,
  ])('%j', (answer) => {
    expect(() => parse(Buffer.from(answer), [1_000_000])).toThrow(HttpSyntaxError);
  });
});
