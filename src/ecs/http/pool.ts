import { type Clock, systemClock } from '../../clock.ts';
import {
  type ConnectionKeeper,
  HttpConnection,
  type HttpExchange,
  type HttpOrigin,
  type HttpRequest,
  tickMsOf,
  timeoutOf,
} from './connection.ts';

export interface HttpPoolOptions extends HttpOrigin {
  /** Connections at once; requests beyond wait for one. */
  readonly connectionsMax: number;
  /** A connection that is not used is closed after this time, or a second before the server does where that says when. */
  readonly keepMs: number;
  /** Tells of suspends; default: {@link systemClock}. */
  readonly clock?: Clock | undefined;
}

/** What a server's own time is undercut by: a request must not meet its end. */
const KEEP_MARGIN_MS = 1_000;

/** A connection that is not used. */
interface Free {
  readonly end: NodeJS.Timeout;
  /** On {@link Clock.elapsed}: the server has closed it by then, which nobody hears in a suspend. */
  readonly until: number;
}

interface Waiting {
  readonly request: HttpRequest;
  readonly exchange: HttpExchange;
}

/** The connections to one server, those that were used last first. */
export class HttpPool implements ConnectionKeeper {
  readonly #options: HttpPoolOptions;
  readonly #connections = new Set<HttpConnection>();
  readonly #clock: Clock;
  /** Free ones, in the order in which they became so. */
  readonly #free = new Map<HttpConnection, Free>();
  readonly #waiting = new Set<Waiting>();
  /** Runs while there are exchanges. */
  #ticking: NodeJS.Timeout | undefined;
  /** For how long the computer was suspended by the last tick; only differences mean anything. */
  #suspendedMs = 0;
  #isDestroyed = false;

  constructor(options: HttpPoolOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Makes a request.
   *
   * @returns what gives it up: the exchange hears no more, and its connection is closed unless it has ended
   */
  request(request: HttpRequest, exchange: HttpExchange): () => void {
    if (this.#isDestroyed) throw closed();
    this.#watch();
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
    clearInterval(this.#ticking);
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
    const ms = Math.min(keepMs, serverMs);
    const end = setTimeout(() => connection.destroy(closed()), ms).unref();
    this.#free.set(connection, { end, until: this.#clock.elapsed() + ms });
  }

  onClose(connection: HttpConnection): void {
    clearTimeout(this.#free.get(connection)?.end);
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
    for (const [connection, { end, until }] of [...this.#free].toReversed()) {
      clearTimeout(end);
      this.#free.delete(connection);
      if (this.#clock.elapsed() < until) return connection;
      connection.destroy(closed());
    }
    return undefined;
  }

  #watch(): void {
    if (this.#ticking) return;
    this.#suspendedMs = this.#suspended();
    this.#ticking = setInterval(() => this.#tick(), tickMsOf(this.#options)).unref();
  }

  /** Ends exchanges that take too long, at once where a suspend was longer than any silence may be. */
  #tick(): void {
    const suspendedMs = this.#suspended();
    const sleptMs = suspendedMs - this.#suspendedMs;
    this.#suspendedMs = suspendedMs;
    const connections = [...this.#connections];
    for (const connection of connections) {
      if (sleptMs < this.#options.silenceTimeoutMs) connection.tick();
      else connection.destroy(timeoutOf(`the computer was suspended for ${Math.round(sleptMs)} ms`));
    }
    if (connections.some(({ isBusy }) => isBusy) || this.#waiting.size > 0) return;
    clearInterval(this.#ticking);
    this.#ticking = undefined;
  }

  #suspended(): number {
    return this.#clock.elapsed() - this.#clock.monotonic();
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
