import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CHECKSUM_ELEMENTS, compositeChecksum, isChecksumName } from './checksum.ts';
import { writeConditions } from './conditions.ts';
import { numberParam, pageSize, receiveContent, xmlAnswer, type Answer, type Context } from './handler.ts';
import { PART_MIN_BYTES, PART_NUMBER_MAX, XML_MAX_BYTES } from './limits.ts';
import { keyEncoding } from './list-handlers.ts';
import { checksumHeaders, readObjectHeaders } from './object-headers.ts';
import { receiveBuffer } from './payload.ts';
import { S3Error } from './s3-error.ts';
import { compareUtf8 } from './sorted-map.ts';
import type { ContentWriter, ObjectRecord } from './storage.ts';
import { discardParts, type Part, type Upload } from './store.ts';
import { parseXml, xmlDocument } from './xml.ts';

export function createMultipartUpload({ store, clock, request }: Context): Answer {
  const algorithm = request.header('x-amz-checksum-algorithm')?.toLowerCase() ?? '';
  if (request.header('x-amz-checksum-type')?.toUpperCase() === 'FULL_OBJECT') {
    throw new S3Error(
      'NotImplemented',
      'Checksums of type FULL_OBJECT are not implemented for multipart uploads',
    );
  }
  const upload = store.startUpload(request.bucket, {
    key: request.key,
    initiated: clock.now(),
    ...readObjectHeaders(request),
    checksumName: isChecksumName(algorithm) ? algorithm : undefined,
  });
  return xmlAnswer(
    xmlDocument('InitiateMultipartUploadResult', {
      Bucket: request.bucket,
      Key: request.key,
      UploadId: upload.id,
    }),
    upload.checksumName
      ? { 'x-amz-checksum-algorithm': upload.checksumName.toUpperCase(), 'x-amz-checksum-type': 'COMPOSITE' }
      : {},
  );
}

function uploadId({ request }: Context): string {
  return request.param('uploadId') ?? '';
}

export async function uploadPart(context: Context): Promise<Answer> {
  const { store, clock, request } = context;
  const number = numberParam(request, 'partNumber', 0, 1, PART_NUMBER_MAX);
  if (number === 0) throw new S3Error('InvalidArgument', 'An upload of a part needs partNumber and uploadId');
  const { checksumName } = store.upload(request.bucket, request.key, uploadId(context));
  const { writer, received } = await receiveContent(context, checksumName);
  const part: Part = {
    number,
    size: received.size,
    etag: received.md5,
    lastModified: clock.now(),
    checksum: received.checksum,
    content: await writer.finish(),
  };
  store.putPart(request.bucket, request.key, uploadId(context), part);
  return { status: 200, headers: { ETag: `"${part.etag}"`, ...checksumHeaders(part) } };
}

const completeSchema = z.object({
  CompleteMultipartUpload: z.object({
    Part: z
      .array(
        z.object({
          PartNumber: z.string().regex(/^\d{1,5}$/),
          ETag: z.string(),
          ChecksumCRC32: z.string().optional(),
          ChecksumSHA1: z.string().optional(),
          ChecksumSHA256: z.string().optional(),
        }),
      )
      .min(1)
      .max(PART_NUMBER_MAX),
  }),
});
type ListedPart = z.infer<typeof completeSchema>['CompleteMultipartUpload']['Part'][number];

/** @throws S3Error InvalidPartOrder, InvalidPart, EntityTooSmall */
function chosenParts(upload: Upload, listed: readonly ListedPart[]): readonly Part[] {
  const inOrder = listed.every(
    ({ PartNumber }, i) => Number(PartNumber) > Number(listed[i - 1]?.PartNumber ?? 0),
  );
  if (!inOrder) throw new S3Error('InvalidPartOrder');
  return listed.map((item, i) => {
    const part = upload.parts.get(Number(item.PartNumber));
    if (!part || item.ETag.replace(/^"(.*)"$/, '$1') !== part.etag) throw new S3Error('InvalidPart');
    const checksum = part.checksum && item[CHECKSUM_ELEMENTS[part.checksum.name]];
    if (checksum !== undefined && checksum !== part.checksum?.value) throw new S3Error('InvalidPart');
    if (part.size < PART_MIN_BYTES && i < listed.length - 1) throw new S3Error('EntityTooSmall');
    return part;
  });
}

async function joinParts(writer: ContentWriter, parts: readonly Part[]): Promise<void> {
  for (const part of parts) {
    const reader = part.content.open();
    try {
      for await (const piece of reader.read(0, part.size)) await writer.write(piece);
    } finally {
      reader.close();
    }
  }
}

export async function completeMultipartUpload(context: Context): Promise<Answer> {
  const { store, clock, request, payload } = context;
  const check = writeConditions(request.header);
  const { body } = await receiveBuffer(request, payload, XML_MAX_BYTES);
  const listed = parseXml(body, completeSchema).CompleteMultipartUpload.Part;
  const upload = store.takeUpload(request.bucket, request.key, uploadId(context));
  try {
    const parts = chosenParts(upload, listed);
    check(store.bucket(request.bucket).objects.get(request.key));
    const writer = await store.newContent();
    try {
      await joinParts(writer, parts);
    } catch (error) {
      await writer.discard();
      throw error;
    }
    const md5s = Buffer.concat(parts.map((part) => Buffer.from(part.etag, 'hex')));
    const { checksumName } = upload;
    const record: ObjectRecord = {
      key: upload.key,
      size: parts.reduce((sum, part) => sum + part.size, 0),
      etag: `${createHash('md5').update(md5s).digest('hex')}-${parts.length}`,
      lastModified: clock.now(),
      headers: upload.headers,
      metadata: upload.metadata,
      checksum:
        checksumName && parts.every((part) => part.checksum?.name === checksumName)
          ? compositeChecksum(
              checksumName,
              parts.map((part) => part.checksum?.value ?? ''),
            )
          : undefined,
    };
    await store.putObject(request.bucket, record, writer, check);
    discardParts(upload);
    return xmlAnswer(
      xmlDocument('CompleteMultipartUploadResult', {
        Location: `/${request.bucket}/${request.key}`,
        Bucket: request.bucket,
        Key: request.key,
        ETag: `"${record.etag}"`,
        ...(record.checksum && {
          [CHECKSUM_ELEMENTS[record.checksum.name]]: record.checksum.value,
          ChecksumType: record.checksum.type,
        }),
      }),
    );
  } catch (error) {
    store.giveBackUpload(request.bucket, upload);
    throw error;
  }
}

export function abortMultipartUpload(context: Context): Answer {
  const { store, request } = context;
  discardParts(store.takeUpload(request.bucket, request.key, uploadId(context)));
  return { status: 204 };
}

export function listParts(context: Context): Answer {
  const { store, request } = context;
  const upload = store.upload(request.bucket, request.key, uploadId(context));
  const marker = numberParam(request, 'part-number-marker', 0, 0, 2 ** 31 - 1);
  const max = pageSize(request, 'max-parts');
  const rest = [...upload.parts.values()]
    .filter((part) => part.number > marker)
    .toSorted((a, b) => a.number - b.number);
  const page = rest.slice(0, max);
  const truncated = max > 0 && rest.length > max;
  return xmlAnswer(
    xmlDocument('ListPartsResult', {
      Bucket: request.bucket,
      Key: request.key,
      UploadId: upload.id,
      PartNumberMarker: marker,
      NextPartNumberMarker: truncated ? page.at(-1)?.number : undefined,
      MaxParts: max,
      IsTruncated: truncated,
      Part: page.map((part) => ({
        PartNumber: part.number,
        LastModified: new Date(part.lastModified).toISOString(),
        ETag: `"${part.etag}"`,
        Size: part.size,
        ...(part.checksum && { [CHECKSUM_ELEMENTS[part.checksum.name]]: part.checksum.value }),
      })),
    }),
  );
}

/** In the order of keys and, for one key, of their start. Without a delimiter, which is not implemented. */
export function listMultipartUploads({ store, request }: Context): Answer {
  if (request.param('delimiter'))
    throw new S3Error('NotImplemented', 'A delimiter is not implemented for uploads');
  const encode = keyEncoding(request);
  const prefix = request.param('prefix') ?? '';
  const keyMarker = request.param('key-marker') ?? '';
  const idMarker = request.param('upload-id-marker') ?? '';
  const max = pageSize(request, 'max-uploads');
  const all = [...store.bucket(request.bucket).uploads.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .toSorted((a, b) => compareUtf8(a.key, b.key) || a.initiated - b.initiated || compareUtf8(a.id, b.id));
  // An upload that ended since the last page is no marker any more: then its key's other uploads come again.
  const marked = all.findIndex(({ key, id }) => key === keyMarker && id === idMarker);
  const rest =
    marked >= 0
      ? all.slice(marked + 1)
      : all.filter(({ key }) => {
          const order = compareUtf8(key, keyMarker);
          return order > 0 || (order === 0 && idMarker !== '');
        });
  const page = rest.slice(0, max);
  const truncated = max > 0 && rest.length > max;
  const last = truncated ? page.at(-1) : undefined;
  return xmlAnswer(
    xmlDocument('ListMultipartUploadsResult', {
      Bucket: request.bucket,
      KeyMarker: encode(keyMarker),
      UploadIdMarker: idMarker,
      NextKeyMarker: last && encode(last.key),
      NextUploadIdMarker: last?.id,
      Prefix: encode(prefix),
      EncodingType: request.param('encoding-type'),
      MaxUploads: max,
      IsTruncated: truncated,
      Upload: page.map((upload) => ({
        Key: encode(upload.key),
        UploadId: upload.id,
        Initiated: new Date(upload.initiated).toISOString(),
        StorageClass: 'STANDARD',
      })),
    }),
  );
}
