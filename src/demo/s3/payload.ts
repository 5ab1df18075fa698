import { createHash } from 'node:crypto';
import { decodeAwsChunked } from './aws-chunked.ts';
import {
  CHECKSUM_BYTES,
  createDigest,
  isChecksumName,
  type Checksum,
  type ChecksumName,
} from './checksum.ts';
import type { S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';
import type { PayloadKind } from './sigv4.ts';

/** What is known of a body that has arrived whole and passed every check that its headers ask for. */
export interface Received {
  /** Bytes. */
  readonly size: number;
  /** In hexadecimal. */
  readonly md5: string;
  /** The one that the client sent or, where it sent none, the one that was asked for in `computed`. */
  readonly checksum: Checksum | undefined;
  /** Whether the client sent a digest of any kind besides the signature's. */
  readonly hasDigest: boolean;
}

/** A checksum that a client announces: its value is in a header, or in a trailer that only comes after the body. */
interface Announced {
  readonly header: string;
  /** Undefined for an algorithm that is not checked. */
  readonly name: ChecksumName | undefined;
  readonly value: string | undefined;
}

const UNCHECKED = ['crc32c', 'crc64nvme'];

function announcedChecksum(request: S3Request): Announced | undefined {
  const trailers = (request.header('x-amz-trailer') ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase());
  const all = [...Object.keys(CHECKSUM_BYTES), ...UNCHECKED].flatMap((name) => {
    const header = `x-amz-checksum-${name}`;
    const value = request.header(header);
    return value === undefined && !trailers.includes(header)
      ? []
      : [{ header, name: isChecksumName(name) ? name : undefined, value }];
  });
  if (all.length > 1) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header');
  return all[0];
}

function expectedMd5(request: S3Request): string | undefined {
  const header = request.header('content-md5');
  if (header === undefined) return undefined;
  const md5 = Buffer.from(header, 'base64');
  if (md5.length !== 16 || md5.toString('base64') !== header) throw new S3Error('InvalidDigest');
  return md5.toString('hex');
}

/** The length of the content in bytes, as the headers announce it; undefined where they don't. */
function announcedSize(request: S3Request, payload: PayloadKind): number | undefined {
  const header = request.header(
    payload.kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length',
  );
  if (header === undefined) return undefined;
  if (!/^\d{1,15}$/.test(header))
    throw new S3Error('InvalidArgument', 'The length of the content is no number');
  return Number(header);
}

/**
 * Reads a request's body, decodes it, and hands the content on while it arrives. When the promise resolves, size,
 * signatures, `x-amz-content-sha256`, Content-MD5 and the checksum were as announced.
 *
 * @param maxBytes the most that the content may have
 * @param tooLarge the error for more
 * @param sink what to do with each piece; it must not be kept, since the buffer is used again
 * @param computed checksum to compute where the client sends none
 * @throws S3Error IncompleteBody, BadDigest and the like, and what `tooLarge` names
 */
export async function receive(
  request: S3Request,
  payload: PayloadKind,
  maxBytes: number,
  tooLarge: 'EntityTooLarge' | 'MaxMessageLengthExceeded',
  sink: (piece: Buffer) => Promise<void> | void,
  computed?: ChecksumName,
): Promise<Received> {
  const announced = announcedChecksum(request);
  const wantedMd5 = expectedMd5(request);
  const wantedSize = announcedSize(request, payload);
  if (wantedSize === undefined) {
    if (payload.kind === 'chunked') throw new S3Error('MissingContentLength');
    if (request.header('transfer-encoding') !== undefined) {
      throw new S3Error('NotImplemented', 'Transfer-Encoding is not implemented; send a Content-Length');
    }
  }
  if ((wantedSize ?? 0) > maxBytes) throw new S3Error(tooLarge);

  const md5 = createHash('md5');
  const sha256 = payload.kind === 'hashed' ? createHash('sha256') : undefined;
  const checksumName = announced ? announced.name : computed;
  const digest = checksumName && createDigest(checksumName);
  const trailers = new Map<string, string>();
  const content =
    payload.kind === 'chunked'
      ? decodeAwsChunked(request.body(), payload.signing, payload.trailer, trailers)
      : request.body();
  let size = 0;
  for await (const piece of content) {
    size += piece.length;
    if (size > (wantedSize ?? maxBytes))
      throw new S3Error(wantedSize === undefined ? tooLarge : 'IncompleteBody');
    md5.update(piece);
    sha256?.update(piece);
    digest?.update(piece);
    await sink(piece);
  }
  if (size !== (wantedSize ?? size)) throw new S3Error('IncompleteBody');
  if (payload.kind === 'hashed' && sha256?.digest('hex') !== payload.sha256) {
    throw new S3Error('XAmzContentSHA256Mismatch');
  }
  const md5Hex = md5.digest('hex');
  if (wantedMd5 !== undefined && wantedMd5 !== md5Hex) {
    throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.');
  }
  const value = digest?.digest().toString('base64');
  if (announced) checkChecksum(announced, trailers, value);
  return {
    size,
    md5: md5Hex,
    checksum:
      checksumName && value !== undefined ? { name: checksumName, value, type: 'FULL_OBJECT' } : undefined,
    hasDigest: announced !== undefined || wantedMd5 !== undefined,
  };
}

function checkChecksum(
  announced: Announced,
  trailers: ReadonlyMap<string, string>,
  actual: string | undefined,
): void {
  const wanted = announced.value ?? trailers.get(announced.header);
  if (wanted === undefined) throw new S3Error('MalformedTrailerError');
  if (announced.name === undefined) return;
  if (Buffer.from(wanted, 'base64').length !== CHECKSUM_BYTES[announced.name]) {
    throw new S3Error('InvalidRequest', `Value for ${announced.header} header is invalid.`);
  }
  if (wanted !== actual) {
    throw new S3Error(
      'BadDigest',
      `The ${announced.name.toUpperCase()} you specified did not match the calculated checksum.`,
    );
  }
}

/** Reads a body of limited size into memory, with the checks of {@link receive}. */
export async function receiveBuffer(
  request: S3Request,
  payload: PayloadKind,
  maxBytes: number,
): Promise<{ readonly body: Buffer; readonly received: Received }> {
  const pieces: Buffer[] = [];
  const received = await receive(request, payload, maxBytes, 'MaxMessageLengthExceeded', (piece) => {
    pieces.push(piece);
  });
  return { body: Buffer.concat(pieces), received };
}
