import { z } from 'zod';
import { LIST_PAGE_MAX_BYTES, UPLOAD_PART_BYTES } from '../limits.ts';
import { type CompletedPart, StoreError, type Upload } from './object-store.ts';
import { TextSink } from './response-body.ts';
import { S3Refusal } from './s3-answer.ts';
import type { S3Request, S3Requests } from './s3-requests.ts';
import { escapedXml, xmlIn } from './s3-xml.ts';

const CREATED = z.object({ UploadId: z.string().min(1) });
const LISTED = z.object({
  Upload: z.array(z.object({ Key: z.string().min(1), UploadId: z.string().min(1) })).default([]),
});

/** Begins, completes, drops and lists uploads in parts. The promises are those of the port. */
export class S3Uploads {
  readonly #bucket: string;
  readonly #requests: S3Requests;

  constructor(bucket: string, requests: S3Requests) {
    this.#bucket = bucket;
    this.#requests = requests;
  }

  async create(
    key: string,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': '0',
      ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
    };
    const { text } = await this.#ask({ method: 'POST', key, query: { uploads: '' }, headers }, signal);
    const { data } = CREATED.safeParse(xmlIn(text)['InitiateMultipartUploadResult']);
    return data?.UploadId ?? this.#broken(key, 'the answer to a new multipart upload has no id');
  }

  /**
   * An answer may begin with status 200 and white space while the store is still at work, and be an error in the end
   * ("CompleteMultipartUpload" of the Amazon S3 API reference). The ETag is left alone: Ceph 16 sends none.
   */
  async complete(
    { key, id }: Upload,
    parts: readonly CompletedPart[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const list = parts.map(
      ({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${escapedXml(etag)}</ETag></Part>`,
    );
    const body = Buffer.from(
      `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${list.join('')}</CompleteMultipartUpload>`,
    );
    const headers = { 'content-type': 'application/xml', 'content-length': `${body.length}` };
    const workBytes = parts.length * UPLOAD_PART_BYTES;
    const request: S3Request = { method: 'POST', key, query: { uploadId: id }, headers, body, workBytes };
    const { text, head } = await this.#ask(request, signal);
    const answer = xmlIn(text);
    if ('CompleteMultipartUploadResult' in answer) return;
    if ('Error' in answer) throw this.#requests.storeErrorOf(new S3Refusal(head, text), request);
    this.#broken(key, 'the answer to the end of a multipart upload says neither that nor why not');
  }

  async abort({ key, id }: Upload, signal: AbortSignal | undefined): Promise<void> {
    await this.#requests.delete(key, { uploadId: id }, signal);
  }

  /** Without `encoding-type=url`: Ceph then encodes keys and does not say so. */
  async list(prefix: string, signal: AbortSignal | undefined): Promise<readonly Upload[]> {
    const { text } = await this.#ask({ method: 'GET', key: '', query: { uploads: '', prefix } }, signal);
    const result = xmlIn(text)['ListMultipartUploadsResult'];
    const { data } = LISTED.safeParse(result === '' ? {} : result);
    if (!data) return this.#broken(prefix, 'the answer is no list of uploads');
    return data.Upload.map(({ Key, UploadId }) => ({ key: Key, id: UploadId }));
  }

  /** Makes a request whose answer is text. */
  async #ask(
    request: S3Request,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly text: string; readonly head: S3Refusal['head'] }> {
    const where = { bucket: this.#bucket, key: request.key };
    const { head, sink } = await this.#requests.send(
      request,
      signal,
      () => new TextSink(where, LIST_PAGE_MAX_BYTES),
    );
    return { text: sink?.text ?? '', head };
  }

  #broken(key: string, detail: string): never {
    throw new StoreError('bad-response', { bucket: this.#bucket, key }, detail);
  }
}
