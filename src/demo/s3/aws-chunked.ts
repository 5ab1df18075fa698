import { createHash } from 'node:crypto';
import { CHUNK_LINE_MAX_BYTES } from './limits.ts';
import { S3Error } from './s3-error.ts';
import { signChunk, signTrailer, type ChunkSigning } from './sigv4.ts';

/**
 * Takes a body in the `aws-chunked` encoding apart ("Signature Calculations for the Authorization Header: Transferring
 * Payload in Multiple Chunks" of the S3 API reference): lines `<size in hexadecimal>[;chunk-signature=<signature>]`, each
 * followed by so many bytes, the last with size 0, then trailers.
 *
 * Yields the content without copying it. A chunk's signature is checked when all of it has been yielded, so what was
 * yielded is to be thrown away when this throws.
 *
 * @param signing absent for a body whose chunks are not signed
 * @param trailers is filled with the trailers, names in lower case, before the end
 * @throws S3Error SignatureDoesNotMatch, IncompleteBody, or MalformedTrailerError
 */
export async function* decodeAwsChunked(
  body: AsyncIterable<Buffer>,
  signing: ChunkSigning | undefined,
  hasTrailers: boolean,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer, void, undefined> {
  const source = new Source(body);
  let previous = signing?.seed ?? '';
  for (;;) {
    const header = /^([0-9a-f]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/i.exec(await source.line());
    const size = header?.[1] === undefined ? Number.NaN : Number.parseInt(header[1], 16);
    if (Number.isNaN(size)) throw new S3Error('IncompleteBody', 'A chunk of the body has no valid header');
    const hash = signing && createHash('sha256');
    for (let left = size; left > 0; ) {
      const piece = await source.take(left);
      hash?.update(piece);
      left -= piece.length;
      yield piece;
    }
    if (signing && hash) {
      const signature = signChunk(signing, previous, hash.digest('hex'));
      if (signature !== header?.[2]) throw new S3Error('SignatureDoesNotMatch');
      previous = signature;
    }
    if (size === 0) break;
    if ((await source.line()) !== '') throw new S3Error('IncompleteBody', 'A chunk of the body has no end');
  }
  await readTrailers(source, signing, previous, hasTrailers, trailers);
}

async function readTrailers(
  source: Source,
  signing: ChunkSigning | undefined,
  previous: string,
  hasTrailers: boolean,
  trailers: Map<string, string>,
): Promise<void> {
  let signed = '';
  let signature: string | undefined;
  let bytes = 0;
  // Clients differ in whether an empty line ends the trailers.
  for (let line = await source.line(true); line !== ''; line = await source.line(true)) {
    bytes += line.length;
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (!hasTrailers || colon < 1 || bytes > CHUNK_LINE_MAX_BYTES) throw new S3Error('MalformedTrailerError');
    if (name === 'x-amz-trailer-signature') signature = value;
    else {
      signed += `${name}:${value}\n`;
      trailers.set(name, value);
    }
  }
  if (!(await source.atEnd())) throw new S3Error('IncompleteBody', 'The body goes on after its last chunk');
  if (signing && hasTrailers && signature !== signTrailer(signing, previous, signed)) {
    throw new S3Error('SignatureDoesNotMatch');
  }
}

/** A stream of buffers, read by line or by number of bytes. */
class Source {
  readonly #iterator: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(body: AsyncIterable<Buffer>) {
    this.#iterator = body[Symbol.asyncIterator]();
  }

  async #more(): Promise<boolean> {
    const next = await this.#iterator.next();
    if (next.done) return false;
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    return true;
  }

  async atEnd(): Promise<boolean> {
    while (this.#rest.length === 0) if (!(await this.#more())) return true;
    return false;
  }

  /** Between 1 and `max` bytes. */
  async take(max: number): Promise<Buffer> {
    if (await this.atEnd()) throw new S3Error('IncompleteBody');
    const piece = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** A line without its end (CR LF, or LF alone). */
  async line(endOfBodyEndsLine = false): Promise<string> {
    let end = this.#rest.indexOf('\n');
    while (end === -1) {
      if (this.#rest.length > CHUNK_LINE_MAX_BYTES) throw new S3Error('IncompleteBody');
      if (!(await this.#more())) {
        if (!endOfBodyEndsLine) throw new S3Error('IncompleteBody');
        end = this.#rest.length;
        break;
      }
      end = this.#rest.indexOf('\n');
    }
    const line = this.#rest.toString('latin1', 0, end).replace(/\r$/, '');
    this.#rest = this.#rest.subarray(end + 1);
    return line;
  }
}
