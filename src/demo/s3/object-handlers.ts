import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkReadConditions, writeConditions } from './conditions.ts';
import { receiveContent, xmlAnswer, type Answer, type Context } from './handler.ts';
import { PAGE_MAX, PUT_MAX_BYTES, XML_MAX_BYTES } from './limits.ts';
import { checksumHeaders, objectHeaders, overriddenHeaders, readObjectHeaders } from './object-headers.ts';
import { receiveBuffer } from './payload.ts';
import { parseRange } from './range.ts';
import { S3Error } from './s3-error.ts';
import type { ObjectRecord } from './storage.ts';
import type { StoredObject } from './store.ts';
import { parseXml, xmlDocument } from './xml.ts';

/** @throws S3Error NoSuchKey or, for a user who may not list the bucket, AccessDenied, as S3 tells it */
function find({ store, isAllowed }: Context, bucket: string, key: string): StoredObject {
  const object = store.bucket(bucket).objects.get(key);
  if (!object) throw new S3Error(isAllowed('s3:ListBucket', bucket) ? 'NoSuchKey' : 'AccessDenied');
  return object;
}

/** GetObject and HeadObject. */
export function readObject(context: Context): Answer {
  const { request } = context;
  const object = find(context, request.bucket, request.key);
  checkReadConditions(request.header, object);
  const range = parseRange(request.header('range'), object.size);
  const { start, end } = range ?? { start: 0, end: object.size };
  const withChecksum = !range && request.header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED';
  const headers: Record<string, string> = {
    ...objectHeaders(object, withChecksum),
    ...overriddenHeaders(request),
    'Content-Length': String(end - start),
  };
  if (range) headers['Content-Range'] = `bytes ${start}-${end - 1}/${object.size}`;
  const answer = { status: range ? 206 : 200, headers };
  if (request.method === 'HEAD') return answer;
  return { ...answer, body: { reader: object.content.open(), start, end } };
}

export async function putObject(context: Context): Promise<Answer> {
  const { store, clock, request } = context;
  const check = writeConditions(request.header);
  const described = readObjectHeaders(request);
  const { writer, received } = await receiveContent(context);
  const record: ObjectRecord = {
    key: request.key,
    size: received.size,
    etag: received.md5,
    lastModified: clock.now(),
    ...described,
    checksum: received.checksum,
  };
  await store.putObject(request.bucket, record, writer, check);
  return { status: 200, headers: { ETag: `"${record.etag}"`, ...checksumHeaders(record) } };
}

export function deleteObject({ store, request }: Context): Answer {
  const ifMatch = request.header('if-match');
  store.deleteObject(request.bucket, request.key, (existing) => {
    if (ifMatch !== undefined && existing)
      checkReadConditions((name) => (name === 'if-match' ? ifMatch : undefined), existing);
  });
  return { status: 204 };
}

const deleteSchema = z.object({
  Delete: z.object({
    Quiet: z.enum(['true', 'false']).default('false'),
    Object: z
      .array(
        z.object({
          Key: z.string().min(1),
          VersionId: z.unknown().optional(),
          ETag: z.unknown().optional(),
          LastModifiedTime: z.unknown().optional(),
          Size: z.unknown().optional(),
        }),
      )
      .min(1)
      .max(PAGE_MAX),
  }),
});

export async function deleteObjects(context: Context): Promise<Answer> {
  const { store, request, payload, isAllowed } = context;
  const { body, received } = await receiveBuffer(request, payload, XML_MAX_BYTES);
  if (!received.hasDigest) {
    throw new S3Error(
      'InvalidRequest',
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
  }
  const { Quiet, Object: items } = parseXml(body, deleteSchema).Delete;
  const deleted: { Key: string }[] = [];
  const errors: { Key: string; Code: string; Message: string }[] = [];
  for (const { Key, VersionId, ETag, LastModifiedTime, Size } of items) {
    try {
      const ofVersion = VersionId !== undefined && VersionId !== 'null';
      const conditional = ETag !== undefined || LastModifiedTime !== undefined || Size !== undefined;
      if (ofVersion || conditional) throw new S3Error('NotImplemented');
      if (!isAllowed('s3:DeleteObject', request.bucket, Key)) throw new S3Error('AccessDenied');
      store.deleteObject(request.bucket, Key);
      deleted.push({ Key });
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      errors.push({ Key, Code: error.code, Message: error.message });
    }
  }
  return xmlAnswer(xmlDocument('DeleteResult', { Deleted: Quiet === 'true' ? [] : deleted, Error: errors }));
}

/** @throws S3Error InvalidArgument */
function copySource(header: string): { readonly bucket: string; readonly key: string } {
  const invalid = new S3Error(
    'InvalidArgument',
    'Copy Source must mention the source bucket and key: bucket/key',
  );
  const [path = '', query] = header.split('?');
  if (query !== undefined && query !== 'versionId=null') throw new S3Error('NotImplemented');
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw invalid;
  }
  const match = /^\/?([^/]+)\/(.+)$/s.exec(decoded);
  if (!match?.[1] || !match[2]) throw invalid;
  return { bucket: match[1], key: match[2] };
}

export async function copyObject(context: Context): Promise<Answer> {
  const { store, clock, request, isAllowed } = context;
  const { bucket, key } = copySource(request.header('x-amz-copy-source') ?? '');
  const directive = request.header('x-amz-metadata-directive') ?? 'COPY';
  if (directive !== 'COPY' && directive !== 'REPLACE') {
    throw new S3Error('InvalidArgument', 'Unknown metadata directive.');
  }
  if (!isAllowed('s3:GetObject', bucket, key)) throw new S3Error('AccessDenied');
  const source = find(context, bucket, key);
  checkReadConditions(request.header, source, 'x-amz-copy-source-');
  if (bucket === request.bucket && key === request.key && directive === 'COPY') {
    throw new S3Error(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.",
    );
  }
  if (source.size > PUT_MAX_BYTES)
    throw new S3Error('InvalidRequest', 'The source is too large to be copied.');
  const check = writeConditions(request.header);
  const described = directive === 'REPLACE' ? readObjectHeaders(request) : source;

  const reader = source.content.open();
  const md5 = createHash('md5');
  try {
    const writer = await store.newContent();
    try {
      for await (const piece of reader.read(0, source.size)) {
        md5.update(piece);
        await writer.write(piece);
      }
    } catch (error) {
      await writer.discard();
      throw error;
    }
    const record: ObjectRecord = {
      key: request.key,
      size: source.size,
      etag: md5.digest('hex'),
      lastModified: clock.now(),
      headers: described.headers,
      metadata: described.metadata,
      // One over the checksums of parts says nothing of the copy, which has no parts.
      checksum: source.checksum?.type === 'FULL_OBJECT' ? source.checksum : undefined,
    };
    await store.putObject(request.bucket, record, writer, check);
    return xmlAnswer(
      xmlDocument('CopyObjectResult', {
        LastModified: new Date(record.lastModified).toISOString(),
        ETag: `"${record.etag}"`,
      }),
    );
  } finally {
    reader.close();
  }
}
