import { type Socket, connect as connectPlain, isIP } from 'node:net';
import { type ConnectionOptions, connect as connectSecurely } from 'node:tls';
import { HTTP_SCRATCH_BYTES } from '../../limits.ts';
import { type AnswerListener, AnswerParser, type HttpMethod, HttpSyntaxError } from './answer-parser.ts';

export interface HttpRequest {
  readonly method: HttpMethod;
  /** As it is sent, percent-encoded. */
  readonly path: string;
  /** With a body, Content-Length among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody | undefined;
}

/**
 * Bytes, or pieces that have `size` bytes together. A piece is left alone once the next one is asked for; what they fail
 * with ends the exchange.
 */
export type RequestBody = Uint8Array | { readonly size: number; readonly pieces: AsyncIterable<Uint8Array> };

/** What becomes of one request: an answer up to its end, or an error, and then nothing more. */
export interface HttpExchange extends AnswerListener {
  /** Where the next bytes of the body may land at once; undefined or empty: nowhere, they come with `onData`. */
  room(): Uint8Array | undefined;
  /** So many bytes have landed there. */
  onLanded(count: number): void;
  /** There will be no more of the answer. */
  onError(error: Error): void;
}

/** What a connection tells the one who keeps it. */
export interface ConnectionKeeper {
  /** An exchange has ended, and another may follow. */
  onFree(connection: HttpConnection): void;
  /** None will follow; once. */
  onClose(connection: HttpConnection): void;
}

export interface HttpOrigin {
  readonly url: URL;
  readonly connectTimeoutMs: number;
  /** The longest silence within an exchange. */
  readonly silenceTimeoutMs: number;
}

/**
 * One connection, for one exchange at a time. The bytes of a body go from the socket straight to where they belong,
 * without a buffer between, as far as the exchange has room for them.
 */
export class HttpConnection {
  readonly #origin: HttpOrigin;
  readonly #socket: Socket;
  readonly #keeper: ConnectionKeeper;
  readonly #parser = new AnswerParser();
  readonly #scratch = Buffer.allocUnsafeSlow(HTTP_SCRATCH_BYTES);
  readonly #connecting: NodeJS.Timeout;
  #exchange: HttpExchange | undefined;
  #isClosed = false;
  /** What the body of the request still has, in bytes. */
  #unsent = 0;
  #isRefused = false;
  /** Whether the socket now reads into the room of the exchange. */
  #lands = false;

  constructor(origin: HttpOrigin, keeper: ConnectionKeeper) {
    this.#origin = origin;
    this.#keeper = keeper;
    this.#socket = this.#connect();
    this.#connecting = setTimeout(() => {
      this.#fail(timeoutOf(`no connection within ${origin.connectTimeoutMs} ms`));
    }, origin.connectTimeoutMs);
    const isSecure = origin.url.protocol === 'https:';
    this.#socket
      .once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(this.#connecting))
      .on('timeout', () => this.#fail(timeoutOf(`silent for ${origin.silenceTimeoutMs} ms`)))
      .on('error', (error) => this.#fail(error))
      .on('end', () => this.#ended())
      .on('close', () => this.#ended());
  }

  /** Sends a request; the connection is free. */
  send({ method, path, headers, body }: HttpRequest, exchange: HttpExchange): void {
    this.#exchange = exchange;
    this.#parser.expect(method, {
      onHead: (head) => {
        this.#isRefused = head.status >= 300;
        exchange.onHead(head);
      },
      onData: (bytes) => exchange.onData(bytes),
      onEnd: () => {
        if (this.#unsent > 0 && !this.#isRefused) {
          return this.#fail(new HttpSyntaxError('an answer to half of a request'));
        }
        this.#exchange = undefined;
        exchange.onEnd();
      },
    });
    const fields = Object.entries({ host: this.#origin.url.host, ...headers });
    const lines = fields.map(([name, value]) => `${name}: ${value}`);
    this.#isRefused = false;
    this.#socket.ref().setTimeout(this.#origin.silenceTimeoutMs);
    this.#socket.cork();
    this.#socket.write(`${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`, 'latin1');
    if (body instanceof Uint8Array) this.#socket.write(body);
    else if (body) {
      this.#unsent = body.size;
      void this.#sendPieces(body.pieces, exchange);
    }
    this.#socket.uncork();
  }

  /** For how long the server keeps it, in ms; undefined where it does not say. */
  get keepAliveMs(): number | undefined {
    return this.#parser.keepAliveMs;
  }

  /** Closes it at once, unless it is about another exchange by now; that of the one who gives up hears no more. */
  giveUp(exchange: HttpExchange): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    this.#close();
  }

  /** Closes it at once; an exchange fails with the reason. */
  destroy(reason: Error): void {
    this.#fail(reason);
  }

  #connect(): Socket {
    const { url } = this.#origin;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const onread = {
      buffer: () => this.#nextBuffer(),
      callback: (count: number) => this.#received(count),
    };
    if (url.protocol !== 'https:') {
      return connectPlain({ host, port: Number(url.port || 80), noDelay: true, onread });
    }
    const options: ConnectionOptions & { readonly onread: typeof onread } = {
      host,
      port: Number(url.port || 443),
      servername: isIP(host) === 0 ? host : '',
      // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 does not undo it.
      rejectUnauthorized: true,
      onread,
    };
    return connectSecurely(options).setNoDelay(true);
  }

  /** One piece after the other, as the socket takes them, and no more once the request is refused or given up. */
  async #sendPieces(pieces: AsyncIterable<Uint8Array>, exchange: HttpExchange): Promise<void> {
    try {
      for await (const piece of pieces) {
        if (this.#exchange !== exchange || this.#isRefused) return;
        this.#unsent -= piece.length;
        await new Promise<void>((resolve, reject) => {
          this.#socket.write(piece, (error) => (error ? reject(error) : resolve()));
        });
      }
    } catch (error) {
      if (this.#exchange === exchange) this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Where the socket puts what it reads next. */
  #nextBuffer(): Uint8Array {
    const left = this.#parser.room;
    const room = left > 0 ? this.#exchange?.room() : undefined;
    this.#lands = room !== undefined && room.length > 0;
    if (!room || !this.#lands) return this.#scratch;
    return room.length > left ? room.subarray(0, left) : room;
  }

  #received(count: number): boolean {
    try {
      if (this.#lands) {
        this.#exchange?.onLanded(count);
        this.#parser.landed(count);
      } else this.#parser.push(this.#scratch.subarray(0, count));
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
    if (!this.#exchange && !this.#isClosed) this.#free();
    return true;
  }

  #free(): void {
    if (!this.#parser.isIdle) return;
    if (!this.#parser.keepsAlive || this.#unsent > 0) return this.#close();
    this.#socket.unref().setTimeout(0);
    this.#keeper.onFree(this);
  }

  #ended(): void {
    if (!this.#parser.close()) this.#fail(closedByServer());
  }

  #fail(error: Error): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#close();
    exchange?.onError(error);
  }

  /** From now on nobody can have it, and nothing lands any more. */
  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#connecting);
    this.#socket.destroy();
    this.#keeper.onClose(this);
  }
}

function timeoutOf(message: string): Error {
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' });
}

function closedByServer(): Error {
  return Object.assign(new Error('the server has closed the connection'), { code: 'ECONNRESET' });
}
