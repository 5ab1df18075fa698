import type { Connection } from '../connection.ts';
import type { Request } from '../request.ts';

/** How one kind of request is served. */
export interface Handler {
  /** The structure that follows the header; a shorter request is refused with EINVAL before it gets here. */
  readonly input?: { readonly size: number };
  /** The kernel waits for no reply to these, and none is sent. */
  readonly silent?: true;
  /**
   * Replies once, or throws what the reply's errno is to be. Reads the message before it first awaits; passes
   * `request.signal` (or that of `request.signalFor`) to whatever may wait.
   */
  readonly handle: (connection: Connection, request: Request) => void | Promise<void>;
}
