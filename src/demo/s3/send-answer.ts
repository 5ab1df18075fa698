import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Answer } from './handler.ts';
import { xmlDocument } from './xml.ts';

/** Where an answer is cut off, for tests. */
export interface Cut {
  readonly kind: 'truncate' | 'stall';
  /** Of the body. */
  readonly bytes: number;
}

/** What an error document says, and the status and headers that it comes with. */
export interface ErrorDescription {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The answer to a request that failed. */
export function errorAnswer(error: ErrorDescription, resource: string, requestId: string): Answer {
  const { headers } = error;
  // Not Modified has no body.
  if (error.status === 304) return { status: 304, headers };
  const body = xmlDocument('Error', {
    Code: error.code,
    Message: error.message,
    Resource: resource,
    RequestId: requestId,
  });
  return { status: error.status, headers: { 'Content-Type': 'application/xml', ...headers }, body };
}

/** Resolves when the client took what was written, or is gone. */
async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return;
  const ended = new AbortController();
  const { signal } = ended;
  try {
    await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]);
  } finally {
    ended.abort();
  }
}

/**
 * Sends an answer, at the pace at which the client takes it. Resolves when all was handed to the system, or the client
 * is gone; closes the reader of the answer's body in any case.
 */
export async function sendAnswer(response: ServerResponse, answer: Answer, cut?: Cut): Promise<void> {
  const { body } = answer;
  try {
    const pieces =
      body === undefined ? [] : Buffer.isBuffer(body) ? [body] : body.reader.read(body.start, body.end);
    if (Buffer.isBuffer(body)) response.setHeader('Content-Length', body.length);
    response.writeHead(answer.status, answer.headers);
    if (
      response.req.method !== 'HEAD' &&
      (await sendPieces(response, pieces, cut?.bytes ?? Infinity)) &&
      cut
    ) {
      if (cut.kind === 'stall') await once(response, 'close');
      else response.socket?.end();
      return;
    }
    response.end();
  } finally {
    if (body !== undefined && !Buffer.isBuffer(body)) body.reader.close();
  }
}

/** @returns whether the limit was reached, so that nothing more may be sent */
async function sendPieces(
  response: ServerResponse,
  pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
  limit: number,
): Promise<boolean> {
  let left = limit;
  if (left === 0) response.flushHeaders();
  for await (const piece of pieces) {
    if (response.destroyed) return false;
    const sent = piece.subarray(0, Math.min(left, piece.length));
    left -= sent.length;
    if (sent.length > 0 && !response.write(sent)) await drained(response);
    if (left === 0) return true;
  }
  return false;
}
