import { type Socket, connect as connectPlain, isIP } from 'node:net';
import { type ConnectionOptions, connect as connectSecurely } from 'node:tls';
import { ANSWER_PROGRESS_MIN_BYTES, HTTP_SCRATCH_BYTES } from '../../limits.ts';
import { type AnswerListener, AnswerParser, type HttpMethod, HttpSyntaxError } from './answer-parser.ts';

export interface HttpRequest {
  readonly method: HttpMethod;
  /** As it is sent, percent-encoded. */
  readonly path: string;
  /** With a body, Content-Length among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: RequestBody | undefined;
  /**
   * How long the server may take to answer once it has all of the request; default: as long as a silence. Up to then the
   * answer may also trickle.
   */
  readonly answerTimeoutMs?: number | undefined;
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
  /** The longest silence within an exchange; in that time {@link ANSWER_PROGRESS_MIN_BYTES} of an answer's body come. */
  readonly silenceTimeoutMs: number;
}

/**
 * Time in exchanges is counted in ticks of this length, which only pass while this process runs: a process that was
 * stopped finds bytes waiting, and no server that was silent.
 */
export function tickMsOf({ silenceTimeoutMs }: HttpOrigin): number {
  return Math.min(1_000, Math.max(5, silenceTimeoutMs / 8));
}

/**
 * Where an exchange is: the request is on its way (Node notices when that does not go on), the answer is waited for, the
 * body of the answer comes. Interim answers and the beginning of a head change nothing.
 */
type Phase = 'sending' | 'waiting' | 'receiving';

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
  #phase: Phase = 'waiting';
  /** In this phase, or since enough of the body has come. */
  #ticks = 0;
  /** What ends the exchange when it is passed. */
  #ticksMax = 0;
  /** Bytes of the body since {@link #ticks} began. */
  #progress = 0;
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

  /** Whether an exchange is under way, which {@link tick} is for. */
  get isBusy(): boolean {
    return this.#exchange !== undefined;
  }

  /** Sends a request; the connection is free. */
  send({ method, path, headers, body, ...request }: HttpRequest, exchange: HttpExchange): void {
    this.#exchange = exchange;
    const { silenceTimeoutMs } = this.#origin;
    const answerTicks = this.#ticksOf(request.answerTimeoutMs ?? silenceTimeoutMs);
    const onSent = (): void => {
      if (this.#exchange === exchange && this.#phase === 'sending') this.#enter('waiting', answerTicks);
    };
    this.#parser.expect(method, {
      onHead: (head) => {
        this.#isRefused = head.status >= 300;
        const left = this.#phase === 'waiting' ? answerTicks - this.#ticks : answerTicks;
        this.#enter('receiving', Math.max(this.#ticksOf(silenceTimeoutMs), left));
        exchange.onHead(head);
      },
      onData: (bytes) => {
        this.#progress += bytes.length;
        exchange.onData(bytes);
      },
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
    this.#enter(body ? 'sending' : 'waiting', answerTicks);
    this.#socket.ref();
    this.#socket.cork();
    this.#socket.write(`${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`, 'latin1');
    if (body instanceof Uint8Array) this.#socket.write(body, onSent);
    else if (body) {
      this.#unsent = body.size;
      void this.#sendPieces(body.pieces, exchange, onSent);
    }
    this.#socket.uncork();
  }

  /** {@link tickMsOf} has passed; ends an exchange in which not enough has happened for too long. */
  tick(): void {
    if (!this.#exchange || this.#phase === 'sending') return;
    this.#ticks += 1;
    if (this.#phase === 'receiving' && this.#progress >= ANSWER_PROGRESS_MIN_BYTES) {
      this.#enter('receiving', this.#ticksOf(this.#origin.silenceTimeoutMs));
    } else if (this.#ticks > this.#ticksMax) {
      const ms = Math.round(this.#ticksMax * tickMsOf(this.#origin));
      const what =
        this.#phase === 'waiting' ? 'no answer' : `no more than ${this.#progress} bytes of an answer`;
      this.#fail(timeoutOf(`${what} within ${ms} ms`));
    }
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

  #enter(phase: Phase, ticksMax: number): void {
    if (phase === 'sending') this.#socket.setTimeout(this.#origin.silenceTimeoutMs);
    else if (this.#phase === 'sending') this.#socket.setTimeout(0);
    this.#phase = phase;
    this.#ticks = 0;
    this.#ticksMax = ticksMax;
    this.#progress = 0;
  }

  #ticksOf(ms: number): number {
    return Math.ceil(ms / tickMsOf(this.#origin));
  }

  /**
   * One piece after the other, as the socket takes them, and no more once the request is refused or given up.
   *
   * @param onSent is called when the socket has them all
   */
  async #sendPieces(
    pieces: AsyncIterable<Uint8Array>,
    exchange: HttpExchange,
    onSent: () => void,
  ): Promise<void> {
    try {
      for await (const piece of pieces) {
        if (this.#exchange !== exchange || this.#isRefused) return;
        this.#unsent -= piece.length;
        await new Promise<void>((resolve, reject) => {
          this.#socket.write(piece, (error) => (error ? reject(error) : resolve()));
        });
      }
      onSent();
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
        this.#progress += count;
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
    this.#socket.unref();
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

/** The error of something that took too long. */
export function timeoutOf(message: string): Error {
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' });
}

function closedByServer(): Error {
  return Object.assign(new Error('the server has closed the connection'), { code: 'ECONNRESET' });
}
