import { pageSize, xmlAnswer, type Answer, type Context } from './handler.ts';
import { listPage } from './listing.ts';
import type { S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';
import { uriEncode } from './sigv4.ts';
import type { StoredObject } from './store.ts';
import { xmlDocument, type XmlContent } from './xml.ts';

/**
 * How a listing writes keys: as they are, or with `encoding-type=url` percent-encoded but for the slashes.
 *
 * @throws S3Error InvalidArgument for an encoding that S3 has not
 */
export function keyEncoding(request: S3Request): (key: string) => string {
  const type = request.param('encoding-type');
  if (type !== undefined && type !== 'url')
    throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified');
  return type === 'url' ? (key) => uriEncode(key).replaceAll('%2F', '/') : (key) => key;
}

/** @throws S3Error InvalidArgument for a token that this server did not make */
function afterToken(token: string): string {
  const after = Buffer.from(token, 'base64url').toString('utf8');
  if (after === '' || continuationToken(after) !== token) {
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect');
  }
  return after;
}

function continuationToken(after: string): string {
  return Buffer.from(after, 'utf8').toString('base64url');
}

function contents(object: StoredObject, encode: (key: string) => string): XmlContent {
  return {
    Key: encode(object.key),
    LastModified: new Date(object.lastModified).toISOString(),
    ETag: `"${object.etag}"`,
    ChecksumAlgorithm: object.checksum?.name.toUpperCase(),
    ChecksumType: object.checksum?.type,
    Size: object.size,
    StorageClass: 'STANDARD',
  };
}

export function listObjectsV2({ store, request }: Context): Answer {
  if (request.param('list-type') !== '2') throw new S3Error('InvalidArgument', 'Invalid list-type');
  const encode = keyEncoding(request);
  const token = request.param('continuation-token');
  const startAfter = request.param('start-after');
  const prefix = request.param('prefix') ?? '';
  const delimiter = request.param('delimiter') ?? '';
  const max = pageSize(request, 'max-keys');
  const after = token === undefined ? (startAfter ?? '') : afterToken(token);
  const page = listPage(store.bucket(request.bucket).objects, { prefix, delimiter, after, max });
  return xmlAnswer(
    xmlDocument('ListBucketResult', {
      Name: request.bucket,
      Prefix: encode(prefix),
      Delimiter: delimiter === '' ? undefined : encode(delimiter),
      StartAfter: startAfter === undefined ? undefined : encode(startAfter),
      MaxKeys: max,
      EncodingType: request.param('encoding-type'),
      KeyCount: page.entries.length + page.commonPrefixes.length,
      IsTruncated: page.next !== undefined,
      ContinuationToken: token,
      NextContinuationToken: page.next === undefined ? undefined : continuationToken(page.next),
      Contents: page.entries.map((object) => contents(object, encode)),
      CommonPrefixes: page.commonPrefixes.map((common) => ({ Prefix: encode(common) })),
    }),
  );
}

/** Version 1. NextMarker is there on every page but the last; S3 has it with a delimiter only. */
export function listObjects({ store, request }: Context): Answer {
  const encode = keyEncoding(request);
  const prefix = request.param('prefix') ?? '';
  const delimiter = request.param('delimiter') ?? '';
  const after = request.param('marker') ?? '';
  const max = pageSize(request, 'max-keys');
  const page = listPage(store.bucket(request.bucket).objects, { prefix, delimiter, after, max });
  return xmlAnswer(
    xmlDocument('ListBucketResult', {
      Name: request.bucket,
      Prefix: encode(prefix),
      Marker: encode(after),
      NextMarker: page.next === undefined ? undefined : encode(page.next),
      MaxKeys: max,
      Delimiter: delimiter === '' ? undefined : encode(delimiter),
      EncodingType: request.param('encoding-type'),
      IsTruncated: page.next !== undefined,
      Contents: page.entries.map((object) => contents(object, encode)),
      CommonPrefixes: page.commonPrefixes.map((common) => ({ Prefix: encode(common) })),
    }),
  );
}
