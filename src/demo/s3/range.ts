import { S3Error } from './s3-error.ts';

/** Bytes from `start` up to and without `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The part of an object that a Range header asks for (RFC 9110, section 14), clipped to the object's size. Undefined
 * where the whole object is to be sent with status 200: there is no header, it is no valid byte range, or it names
 * several ranges, which S3 does not support.
 *
 * @throws S3Error InvalidRange when no byte of the object is in the range, as always for an empty object
 */
export function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(header ?? '');
  if (!match) return undefined;
  const [, first, last, suffix] = match;
  const start = suffix === undefined ? Number(first) : Math.max(0, size - Number(suffix));
  const end = suffix !== undefined || last === '' ? size : Math.min(size, Number(last) + 1);
  if (suffix === undefined && last !== '' && Number(last) < Number(first)) return undefined;
  if (start >= end) throw new S3Error('InvalidRange', undefined, { 'Content-Range': `bytes */${size}` });
  return { start, end };
}
