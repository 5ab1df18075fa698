import type { RequestBody } from './http/connection.ts';
import {
  type PutBody,
  type PutOptions,
  type StreamedBody,
  StoreError,
  type UploadPart,
} from './object-store.ts';
import type { S3Request, S3Requests } from './s3-requests.ts';

/** What writes the content of objects. The promises are those of the port. */
export class S3Writer {
  readonly #bucket: string;
  readonly #requests: S3Requests;

  constructor(bucket: string, requests: S3Requests) {
    this.#bucket = bucket;
    this.#requests = requests;
  }

  async put(
    key: string,
    body: PutBody,
    { signal, metadata = {}, md5, ifNoneMatch }: PutOptions,
  ): Promise<void> {
    const where = { bucket: this.#bucket, key };
    assertMetadata(where, metadata);
    const headers = {
      'content-type': 'application/octet-stream',
      ...(ifNoneMatch && { 'if-none-match': ifNoneMatch }),
      ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
    };
    await this.#send({ method: 'PUT', key, headers }, body, md5, signal);
  }

  /** @returns the part's ETag as it was sent */
  async putPart(
    { key, id, number }: UploadPart,
    body: PutBody,
    md5: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const query = { partNumber: `${number}`, uploadId: id };
    return this.#send({ method: 'PUT', key, query }, body, md5, signal);
  }

  async #send(
    request: S3Request,
    body: PutBody,
    md5: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const where = { bucket: this.#bucket, key: request.key };
    const headers = {
      ...request.headers,
      'content-length': `${body instanceof Uint8Array ? body.length : body.size}`,
      ...(md5 && { 'content-md5': Buffer.from(md5).toString('base64') }),
    };
    const { head } = await sendBody(where, body, signal, (content, either) =>
      this.#requests.send({ ...request, headers, body: content }, either),
    );
    if (head.etag) return head.etag;
    // A proxy's login page is a 200, too, and every S3 store says what it has stored.
    throw new StoreError(
      'bad-response',
      where,
      'the answer to a put has no ETag: it is not from an S3 store',
    );
  }
}

interface Where {
  readonly bucket: string;
  readonly key: string;
}

/** @throws StoreError `bad-request` when a value could not arrive as it is */
export function assertMetadata(where: Where, metadata: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^(?! )[ -~]*(?<! )$/.test(value))
      throw new StoreError('bad-request', where, `the metadata value of ${name} is not plain ASCII`);
  }
}

/**
 * Sends a body.
 *
 * @param send gets the content, and a signal that aborts with the caller's or with what the content failed with
 * @throws what the content failed with, or `bad-request` when its size is not the one announced
 */
async function sendBody<T>(
  where: Where,
  body: PutBody,
  signal: AbortSignal | undefined,
  send: (content: RequestBody, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (body instanceof Uint8Array) return send(body, signal);
  const failure = new AbortController();
  const either = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  return send({ size: body.size, pieces: heldToSize(where, body, failure) }, either);
}

/** The pieces of a body that is held to its size; the controller aborts with what goes wrong. */
async function* heldToSize(
  where: Where,
  body: StreamedBody,
  failure: AbortController,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sent = 0;
  const assertSize = (isRight: boolean): void => {
    if (isRight) return;
    const detail = `the content was to have ${body.size} bytes and has ${sent}${sent > body.size ? ' or more' : ''}`;
    throw new StoreError('bad-request', where, detail);
  };
  try {
    for await (const piece of body.open()) {
      sent += piece.length;
      assertSize(sent <= body.size);
      yield piece;
    }
    assertSize(sent === body.size);
  } catch (error) {
    failure.abort(error);
    throw error;
  }
}
