import { pipeline, type Readable, Transform } from 'node:stream';
import { MiB } from '../limits.ts';
import { type PutBody, StoreError } from './object-store.ts';

interface Where {
  readonly bucket: string;
  readonly key: string;
}

/**
 * Sends a body. A stream is opened for it, held to its size, and closed whatever happens.
 *
 * @param send gets the content, its bytes, and a signal that aborts with the caller's or with what the stream failed with
 * @throws what the stream failed with, or `bad-request` when its size is not the one announced
 */
export async function sendBody<T>(
  where: Where,
  body: PutBody,
  signal: AbortSignal | undefined,
  send: (content: Uint8Array | Readable, size: number, signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  if (body instanceof Uint8Array) return send(body, body.length, signal);
  // The SDK pipes a stream into the socket without an ear for its errors, so these come as an abort.
  const failure = new AbortController();
  const content = open(where, body, failure);
  try {
    const either = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
    return await send(content, body.size, either);
  } finally {
    // Before its end this is a failure, which closes a connection where half of a refused upload hangs.
    content.destroy();
  }
}

/** @throws StoreError `bad-request` when a value could not arrive as it is */
export function assertMetadata(where: Where, metadata: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^(?! )[ -~]*(?<! )$/.test(value))
      throw new StoreError('bad-request', where, `the metadata value of ${name} is not plain ASCII`);
  }
}

/** Opens a body and holds it to its size; the controller aborts with what goes wrong. */
function open(where: Where, body: Exclude<PutBody, Uint8Array>, failure: AbortController): Readable {
  let sent = 0;
  const sizeError = (): StoreError =>
    new StoreError(
      'bad-request',
      where,
      `the content was to have ${body.size} bytes and has ${sent}${sent > body.size ? ' or more' : ''}`,
    );
  const content = new Transform({
    highWaterMark: 1 * MiB,
    transform: (chunk: Uint8Array, _encoding, done) => {
      sent += chunk.length;
      if (sent > body.size) done(sizeError());
      else done(null, chunk);
    },
    flush: (done) => done(sent < body.size ? sizeError() : null),
  });
  pipeline(body.open(), content, (error) => {
    if (error) failure.abort(error);
  });
  return content;
}
