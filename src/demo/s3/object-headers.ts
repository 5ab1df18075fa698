import { METADATA_MAX_BYTES } from './limits.ts';
import { headerBytes, type S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';
import type { ObjectRecord } from './storage.ts';

/** Headers that an object keeps and gives back, in the spelling of answers. */
const KEPT = [
  'Cache-Control',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Language',
  'Content-Type',
  'Expires',
] as const;
const META = 'x-amz-meta-';
export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';

/** What a header's value can't have, as one character for each byte. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const NO_HEADER_BYTE = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * What a request says of the object that it makes.
 *
 * @throws S3Error MetadataTooLarge, InvalidArgument, InvalidStorageClass
 */
export function readObjectHeaders(request: S3Request): Pick<ObjectRecord, 'headers' | 'metadata'> {
  const headers: Record<string, string> = { 'content-type': DEFAULT_CONTENT_TYPE };
  for (const name of KEPT.map((kept) => kept.toLowerCase())) {
    const value = request.header(name);
    if (value !== undefined && value !== '') headers[name] = value;
  }
  // aws-chunked is how the content came, and is not kept with it.
  const encoding = (headers['content-encoding'] ?? '')
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && token !== 'aws-chunked')
    .join(',');
  if (encoding === '') delete headers['content-encoding'];
  else headers['content-encoding'] = encoding;

  const metadata: Record<string, string> = {};
  let bytes = 0;
  for (const name of request.headerNames().filter((header) => header.startsWith(META))) {
    const value = request.header(name) ?? '';
    if (NO_HEADER_BYTE.test(value))
      throw new S3Error('InvalidArgument', `${name} has characters that no header has`);
    metadata[name.slice(META.length)] = value;
    bytes += name.length - META.length + value.length;
  }
  if (bytes > METADATA_MAX_BYTES) throw new S3Error('MetadataTooLarge');
  if ((request.header('x-amz-storage-class') ?? 'STANDARD') !== 'STANDARD')
    throw new S3Error('InvalidStorageClass');
  return { headers, metadata };
}

/** The headers of an answer about an object, besides the length of its body. */
export function objectHeaders(object: ObjectRecord, withChecksum: boolean): Record<string, string> {
  const headers: Record<string, string> = {
    ETag: `"${object.etag}"`,
    'Last-Modified': new Date(object.lastModified).toUTCString(),
    'Accept-Ranges': 'bytes',
  };
  for (const name of KEPT) {
    const value = object.headers[name.toLowerCase()];
    if (value !== undefined) headers[name] = value;
  }
  for (const [name, value] of Object.entries(object.metadata)) headers[META + name] = value;
  return { ...headers, ...(withChecksum ? checksumHeaders(object) : {}) };
}

export function checksumHeaders({ checksum }: Pick<ObjectRecord, 'checksum'>): Record<string, string> {
  if (!checksum) return {};
  return { [`x-amz-checksum-${checksum.name}`]: checksum.value, 'x-amz-checksum-type': checksum.type };
}

/**
 * The headers that a reader asks to have in the answer instead of the object's own (`response-content-type` …).
 *
 * @throws S3Error InvalidArgument for values that no header can have
 */
export function overriddenHeaders(request: S3Request): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of KEPT) {
    const value = request.param(`response-${name.toLowerCase()}`);
    if (value === undefined) continue;
    const bytes = headerBytes(value);
    if (NO_HEADER_BYTE.test(bytes))
      throw new S3Error('InvalidArgument', `response-${name.toLowerCase()} is no header`);
    headers[name] = bytes;
  }
  return headers;
}
