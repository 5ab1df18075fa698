import { StoreError } from './object-store.ts';

/** The answer to a GET as far as its body is concerned, whatever client it came from. */
export interface BodyResponse {
  readonly status: number;
  /** Content-Length in bytes. */
  readonly contentLength: number | undefined;
  readonly contentRange: string | undefined;
  /** Ends when all has arrived; throws a `TimeoutError` after too long a silence, another error when it breaks off. */
  readonly body: AsyncIterable<Uint8Array>;
}

interface Where {
  readonly bucket: string;
  readonly key: string;
}

/**
 * Fills the targets from the answer to a GET with `Range: bytes=offset-(offset + length - 1)`, where length is that
 * of all targets. Chunks are copied as they come; nothing else is kept. An answer with the whole object (status 200),
 * which a server may give to any ranged request (RFC 9110, 14.2), is read up to the range's end.
 *
 * @returns the size of the whole object in bytes
 * @throws StoreError `short` when the object ends before the range, `bad-response` when the answer is another part
 * of the object, or has more or fewer bytes than it should
 */
export async function receiveRange(
  response: BodyResponse,
  where: Where,
  offset: number,
  targets: readonly Uint8Array[],
): Promise<number> {
  const length = targets.reduce((sum, target) => sum + target.length, 0);
  const whole = response.status === 200;
  const { first, last, size } = whole ? wholeObject(response, where) : partOfObject(response, where);
  if (size < offset + length) {
    const range = `bytes ${offset} to ${offset + length - 1}`;
    throw new StoreError('short', where, `${range} were asked for, and the object has ${size} bytes`);
  }
  if (!whole && (first !== offset || last !== offset + length - 1)) {
    throw badResponse(where, `asked for bytes ${offset} to ${offset + length - 1}, got ${first} to ${last}`);
  }
  const announced = response.contentLength ?? last - first + 1;
  if (announced !== last - first + 1) {
    throw badResponse(where, `${announced} bytes are announced for the bytes ${first} to ${last}`);
  }
  await fill(response.body, where, offset - first, targets, whole ? 'leave the rest' : 'nothing may follow');
  return size;
}

/**
 * Reads the answer to a GET of a whole object into memory.
 *
 * @throws StoreError `too-large` before anything is read when it has more than `maxBytes`, `bad-response` when it
 * has more or fewer bytes than it announced or announces none: nothing would tell the whole from a part
 */
export async function receiveWhole(response: BodyResponse, where: Where, maxBytes: number): Promise<Buffer> {
  const { size } = wholeObject(response, where);
  if (size > maxBytes) {
    throw new StoreError('too-large', where, `the object has ${size} bytes, and ${maxBytes} are allowed`);
  }
  const content = Buffer.allocUnsafeSlow(size);
  await fill(response.body, where, 0, [content], 'nothing may follow');
  return content;
}

interface Part {
  /** First and last byte of the part. */
  readonly first: number;
  readonly last: number;
  /** Of the whole object, in bytes. */
  readonly size: number;
}

function wholeObject({ status, contentLength }: BodyResponse, where: Where): Part {
  if (status !== 200) throw badResponse(where, `status ${status} to a request for an object`);
  if (contentLength === undefined) throw badResponse(where, 'the answer has no Content-Length');
  return { first: 0, last: contentLength - 1, size: contentLength };
}

function partOfObject({ status, contentRange }: BodyResponse, where: Where): Part {
  if (status !== 206) throw badResponse(where, `status ${status} to a request for a range`);
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '') ?? [];
  if (size === undefined) throw badResponse(where, `Content-Range is ${JSON.stringify(contentRange ?? '')}`);
  return { first: Number(first), last: Number(last), size: Number(size) };
}

/** Skips some bytes, then fills the targets one after the other. */
async function fill(
  body: AsyncIterable<Uint8Array>,
  where: Where,
  skip: number,
  targets: readonly Uint8Array[],
  rest: 'leave the rest' | 'nothing may follow',
): Promise<void> {
  const wanted = targets.reduce((sum, target) => sum + target.length, skip);
  let received = 0;
  let index = 0;
  /** How much of `targets[index]` is filled. */
  let filled = 0;
  try {
    for await (const chunk of body) {
      // What is left of the bytes to skip may be more than this chunk, or none of it.
      let from = Math.min(chunk.length, Math.max(0, skip - received));
      received += chunk.length;
      for (
        let target = targets[index];
        target !== undefined && from < chunk.length;
        target = targets[index]
      ) {
        const count = Math.min(chunk.length - from, target.length - filled);
        target.set(chunk.subarray(from, from + count), filled);
        from += count;
        filled += count;
        if (filled < target.length) break;
        index++;
        filled = 0;
      }
      if (rest === 'leave the rest' ? received >= wanted : received > wanted) break;
    }
  } catch (error) {
    if (error instanceof Error && error.name === 'TimeoutError') throw error;
    throw badResponse(where, `the answer broke off after ${received} of ${wanted} bytes`);
  }
  if (received < wanted) throw badResponse(where, `the answer ended after ${received} of ${wanted} bytes`);
  if (received > wanted && rest === 'nothing may follow') {
    throw badResponse(where, `the answer has more than the ${wanted} bytes it should have`);
  }
}

function badResponse(where: Where, detail: string): StoreError {
  return new StoreError('bad-response', where, detail);
}
