import { z } from 'zod';
import { LIST_PAGE_MAX_BYTES } from '../limits.ts';
import { type ListPage, type ListQuery, StoreError } from './object-store.ts';
import { TextSink } from './response-body.ts';
import { unquoted } from './s3-answer.ts';
import type { S3Requests } from './s3-requests.ts';
import { xmlIn } from './s3-xml.ts';

/** What lists the keys of a bucket. The promises are those of the port. */
export class S3Lister {
  readonly #bucket: string;
  readonly #requests: S3Requests;

  constructor(bucket: string, requests: S3Requests) {
    this.#bucket = bucket;
    this.#requests = requests;
  }

  async listPage(
    { prefix, delimiter, continuationToken, maxKeys = 1_000 }: ListQuery,
    signal: AbortSignal | undefined,
  ): Promise<ListPage> {
    const where = { bucket: this.#bucket, key: prefix };
    const query = {
      'list-type': '2',
      prefix,
      'max-keys': `${maxKeys}`,
      // XML has no form for most control characters, and parsers trim white space.
      'encoding-type': 'url',
      ...(delimiter !== undefined && { delimiter }),
      ...(continuationToken !== undefined && { 'continuation-token': continuationToken }),
    };
    const { sink } = await this.#requests.send(
      { method: 'GET', key: '', query },
      signal,
      () => new TextSink(where, LIST_PAGE_MAX_BYTES),
    );
    const broken = (detail: string): StoreError => new StoreError('bad-response', where, detail);
    return pageIn(sink?.text ?? '', continuationToken, broken);
  }
}

/** "ListObjectsV2", response elements (Amazon S3 API reference). */
const RESULT = z.object({
  IsTruncated: z.enum(['true', 'false']),
  EncodingType: z.string().optional(),
  NextContinuationToken: z.string().optional(),
  Contents: z
    .array(
      z.object({
        Key: z.string().min(1),
        Size: z.string().regex(/^\d+$/),
        ETag: z.string().optional(),
        LastModified: z.string(),
      }),
    )
    .default([]),
  CommonPrefixes: z.array(z.object({ Prefix: z.string() })).default([]),
});

/** What is wrong with a page, as an error. */
type Broken = (detail: string) => StoreError;

/** @throws what `broken` makes when the text is no page, or not all of one */
function pageIn(text: string, sentToken: string | undefined, broken: Broken): ListPage {
  const { success, data, error } = RESULT.safeParse(xmlIn(text)['ListBucketResult']);
  if (!success)
    throw broken(`the answer is no list of objects: ${error.issues[0]?.path.join('.') ?? ''} is wrong`);
  const token = data.IsTruncated === 'true' ? (data.NextContinuationToken ?? '') : undefined;
  if (token === '') throw broken('the list goes on, but the answer has no continuation token');
  if (token !== undefined && token === sentToken) throw broken('the list does not advance');
  const decoded = (name: string): string => (data.EncodingType === 'url' ? urlDecoded(name, broken) : name);
  return {
    objects: data.Contents.map(({ Key, Size, ETag, LastModified }) => {
      const lastModified = Date.parse(LastModified);
      if (Number.isNaN(lastModified)) throw broken('an object in the list has no time');
      return { key: decoded(Key), size: Number(Size), etag: unquoted(ETag), lastModified };
    }),
    commonPrefixes: data.CommonPrefixes.map(({ Prefix }) => decoded(Prefix)),
    continuationToken: token,
  };
}

/** Undoes what `encoding-type=url` does; some stores write a space as `+`. */
function urlDecoded(text: string, broken: Broken): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw broken(`${JSON.stringify(text)} is not URL-encoded`);
  }
}
