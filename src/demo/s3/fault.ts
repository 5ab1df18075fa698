import type { IncomingHttpHeaders } from 'node:http';
import type { Operation } from './routing.ts';

/** A request as a test's `intercept` sees it, before its signature is checked. */
export interface InterceptedRequest {
  readonly operation: Operation;
  readonly bucket: string;
  readonly key: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
}

/** What happens to a request instead of, or besides, what ought to. */
export type Fault =
  /** There is never an answer, nor is the request carried out; the connection stays. */
  | { readonly kind: 'no-answer' }
  /** The connection is reset without an answer; the request is not carried out. */
  | { readonly kind: 'reset' }
  /** Another answer, and the request is not carried out. Code and message are those of the error document. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly code?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Carried out and answered, but the connection is closed after so many bytes of the body. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  /** Carried out and answered, but nothing comes any more after so many bytes of the body. */
  | { readonly kind: 'stall'; readonly bytes: number };

/**
 * Called for every request that asks for a known operation. The request goes on when the promise resolves, so a delay is
 * a promise that takes its time.
 */
export type Intercept = (request: InterceptedRequest) => Promise<Fault | undefined>;
