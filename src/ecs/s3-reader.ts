import { type ObjectInfo, type RangeOptions, type StoredObject, StoreError } from './object-store.ts';
import { rangeSink, wholeSink } from './response-body.ts';
import { type S3Head, unquoted } from './s3-answer.ts';
import type { S3Requests } from './s3-requests.ts';

/** What reads objects: the bytes go from the socket straight into the targets. The promises are those of the port. */
export class S3Reader {
  readonly #bucket: string;
  readonly #requests: S3Requests;

  constructor(bucket: string, requests: S3Requests) {
    this.#bucket = bucket;
    this.#requests = requests;
  }

  async getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    signal: AbortSignal | undefined,
    onFilled: RangeOptions['onFilled'],
  ): Promise<ObjectInfo> {
    const where = { bucket: this.#bucket, key };
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    const range = `bytes=${offset}-${offset + length - 1}`;
    const request = { method: 'GET', key, headers: { range } } as const;
    const { head, sink } = await this.#requests.send(request, signal, (answer) => {
      // First of all: the size of a page that a proxy answers with says nothing of the object's.
      lastModifiedOf(where, answer);
      const filling = rangeSink(answer, where, offset, targets, (count) =>
        onFilled?.(count, infoOf(where, answer, filling.size)),
      );
      return filling;
    });
    return infoOf(where, head, sink?.size);
  }

  async get(key: string, maxBytes: number, signal: AbortSignal | undefined): Promise<StoredObject> {
    const where = { bucket: this.#bucket, key };
    let body: Buffer = Buffer.alloc(0);
    const { head } = await this.#requests.send({ method: 'GET', key }, signal, (answer) => {
      lastModifiedOf(where, answer);
      const { sink, content } = wholeSink(answer, where, maxBytes);
      body = content;
      return sink;
    });
    return { ...infoOf(where, head, body.length), body };
  }

  async head(key: string, signal: AbortSignal | undefined): Promise<ObjectInfo> {
    const { head } = await this.#requests.send({ method: 'HEAD', key }, signal);
    return infoOf({ bucket: this.#bucket, key }, head, head.contentLength);
  }
}

function infoOf(
  where: { readonly bucket: string; readonly key: string },
  head: S3Head,
  size: number | undefined,
): ObjectInfo {
  const lastModified = lastModifiedOf(where, head);
  if (size === undefined) throw new StoreError('bad-response', where, 'the answer has no Content-Length');
  return { size, etag: unquoted(head.etag), lastModified, metadata: head.metadata };
}

/** What the answer about an object always has, and a web page mostly has not. */
function lastModifiedOf(where: { readonly bucket: string; readonly key: string }, head: S3Head): number {
  const lastModified = Date.parse(head.lastModified ?? '');
  if (!Number.isNaN(lastModified)) return lastModified;
  throw new StoreError(
    'bad-response',
    where,
    'the answer has no Last-Modified: it may not be from an S3 store',
  );
}
