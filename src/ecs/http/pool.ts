import {
  type ConnectionKeeper,
  HttpConnection,
  type HttpExchange,
  type HttpOrigin,
  type HttpRequest,
} from './connection.ts';

export interface HttpPoolOptions extends HttpOrigin {
  /** Connections at once; requests beyond wait for one. */
  readonly connectionsMax: number;
  /** A connection that is not used is closed after this time, or a second before the server does where that says when. */
  readonly keepMs: number;
}

/** What a server's own time is undercut by: a request must not meet its end. */
const KEEP_MARGIN_MS = 1_000;

interface Waiting {
  readonly request: HttpRequest;
  readonly exchange: HttpExchange;
}

/** The connections to one server, those that were used last first. */
export class HttpPool implements ConnectionKeeper {
  readonly #options: HttpPoolOptions;
  readonly #connections = new Set<HttpConnection>();
  /** Free ones, with what ends them, in the order in which they became so. */
  readonly #free = new Map<HttpConnection, NodeJS.Timeout>();
  readonly #waiting = new Set<Waiting>();
  #isDestroyed = false;

  constructor(options: HttpPoolOptions) {
    this.#options = options;
  }

  /**
   * Makes a request.
   *
   * @returns what gives it up: the exchange hears no more, and its connection is closed unless it has ended
   */
  request(request: HttpRequest, exchange: HttpExchange): () => void {
    if (this.#isDestroyed) throw closed();
    const connection = this.#takeFree() ?? this.#open();
    if (connection) {
      connection.send(request, exchange);
      return () => connection.giveUp(exchange);
    }
    const waiting: Waiting = { request, exchange };
    this.#waiting.add(waiting);
    return () => {
      if (!this.#waiting.delete(waiting)) for (const one of this.#connections) one.giveUp(exchange);
    };
  }

  /** Closes all connections; requests under way and those that wait fail. */
  destroy(): void {
    this.#isDestroyed = true;
    for (const { exchange } of this.#waiting) exchange.onError(closed());
    this.#waiting.clear();
    for (const connection of this.#connections) connection.destroy(closed());
  }

  onFree(connection: HttpConnection): void {
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      connection.send(next.request, next.exchange);
      return;
    }
    const { keepMs } = this.#options;
    const serverMs = (connection.keepAliveMs ?? Number.POSITIVE_INFINITY) - KEEP_MARGIN_MS;
    if (serverMs <= 0) return connection.destroy(closed());
    const end = setTimeout(() => connection.destroy(closed()), Math.min(keepMs, serverMs)).unref();
    this.#free.set(connection, end);
  }

  onClose(connection: HttpConnection): void {
    clearTimeout(this.#free.get(connection));
    this.#free.delete(connection);
    this.#connections.delete(connection);
    const [next] = this.#waiting;
    const another = next && !this.#isDestroyed ? this.#open() : undefined;
    if (next && another) {
      this.#waiting.delete(next);
      another.send(next.request, next.exchange);
    }
  }

  #takeFree(): HttpConnection | undefined {
    const [connection, end] = [...this.#free].at(-1) ?? [];
    if (!connection) return undefined;
    clearTimeout(end);
    this.#free.delete(connection);
    return connection;
  }

  #open(): HttpConnection | undefined {
    if (this.#connections.size >= this.#options.connectionsMax) return undefined;
    const connection = new HttpConnection(this.#options, this);
    this.#connections.add(connection);
    return connection;
  }
}

function closed(): Error {
  return Object.assign(new Error('the connections are closed'), { code: 'ECONNABORTED' });
}
