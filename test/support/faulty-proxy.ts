import { once } from 'node:events';
import {
  Agent,
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { listen } from './listen.ts';

/** What the network, or something in it, does to one request. */
export type NetworkFault =
  | { readonly kind: 'delay'; readonly ms: number }
  /** The answer begins, or not even that, and never goes on. */
  | { readonly kind: 'stall'; readonly bytes?: number }
  /** The connection is reset; the request is never seen by the server. */
  | { readonly kind: 'reset' }
  /** The server has done what was asked, and its answer is lost. */
  | { readonly kind: 'lost-answer' }
  /** The answer breaks off after some bytes of its body. */
  | { readonly kind: 'truncate'; readonly bytes: number }
  /** Another answer; the server never sees the request. */
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  /** A page instead of an answer, as captive portals give it. */
  | { readonly kind: 'page' }
  /** The range that is asked for is not the one that is given. */
  | { readonly kind: 'wrong-range' }
  /** One byte of the body is another. */
  | { readonly kind: 'wrong-byte'; readonly at: number };

/**
 * Makers of the faults that pass by themselves, and that nobody can take for what a store says of its objects.
 *
 * @param upTo draws an integer from 0 below a bound
 * @param delayMs the longest delay
 */
export function passingFaults(
  upTo: (count: number) => number,
  delayMs: number,
): readonly (() => NetworkFault)[] {
  return [
    () => ({ kind: 'delay', ms: upTo(delayMs) }),
    () => ({ kind: 'reset' }),
    () => ({ kind: 'lost-answer' }),
    () => ({ kind: 'truncate', bytes: upTo(100_000) }),
    () => ({ kind: 'status', status: 500, code: 'InternalError' }),
    () => ({ kind: 'status', status: 503, code: 'SlowDown' }),
    () => ({ kind: 'status', status: 429, code: 'TooManyRequests' }),
  ];
}

/** Chooses what happens to a request; undefined lets it pass. */
export type FaultSchedule = (method: string, url: string) => NetworkFault | undefined;

export interface FaultyProxy {
  readonly endpoint: string;
  /** Requests that have come, by what happened to them. */
  readonly counts: ReadonlyMap<NetworkFault['kind'] | 'none' | 'away', number>;
  /** Lets everything pass from now on, or not. */
  setSchedule(schedule: FaultSchedule | undefined): void;
  /** While it is away, every connection is reset. */
  setAway(away: boolean): void;
  close(): Promise<void>;
}

/** A proxy in front of an S3 server on this computer; it passes the Host header on, so that signatures stay valid. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const counts = new Map<NetworkFault['kind'] | 'none' | 'away', number>();
  const sockets = new Set<Socket>();
  let schedule: FaultSchedule | undefined;
  let away = false;

  const forward = (from: IncomingMessage, range?: string): ClientRequest => {
    const headers = { ...from.headers, ...(range === undefined ? {} : { range }) };
    const to = request({ hostname, port, agent, method: from.method, path: from.url, headers });
    from.pipe(to);
    from.on('close', () => {
      if (!from.complete) to.destroy();
    });
    return to;
  };
  const pass = async (
    from: IncomingMessage,
    answer: ServerResponse,
    fault: NetworkFault | undefined,
  ): Promise<void> => {
    const to = forward(from, fault?.kind === 'wrong-range' ? shifted(from.headers.range) : undefined);
    const [received]: IncomingMessage[] = await once(to, 'response');
    if (!received) throw new Error('no answer');
    if (fault?.kind === 'lost-answer') {
      received.resume();
      await once(received, 'end');
      answer.destroy();
      return;
    }
    answer.writeHead(received.statusCode ?? 500, received.headers);
    let passed = 0;
    const limit = fault?.kind === 'truncate' || fault?.kind === 'stall' ? (fault.bytes ?? 0) : Infinity;
    for await (const chunk of received) {
      const bytes: Buffer = Buffer.from(chunk);
      if (fault?.kind === 'wrong-byte' && fault.at >= passed && fault.at < passed + bytes.length)
        bytes.writeUInt8(bytes.readUInt8(fault.at - passed) ^ 1, fault.at - passed);
      answer.write(bytes.subarray(0, limit - passed));
      passed += bytes.length;
      if (passed >= limit) break;
    }
    if (fault?.kind === 'truncate') answer.destroy();
    else if (fault?.kind !== 'stall') answer.end();
  };
  const handle = async (from: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const fault = schedule?.(from.method ?? '', from.url ?? '');
    const what = away ? 'away' : (fault?.kind ?? 'none');
    counts.set(what, (counts.get(what) ?? 0) + 1);
    if (away || fault?.kind === 'reset') from.socket.resetAndDestroy();
    else if (fault?.kind === 'stall' && fault.bytes === undefined) from.resume();
    else if (fault?.kind === 'status' || fault?.kind === 'page') {
      from.resume();
      await once(from, 'end');
      const [status, body] =
        fault.kind === 'page'
          ? [200, '<html>Please log in</html>']
          : [
              fault.status,
              `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>m</Message></Error>`,
            ];
      answer.writeHead(status, { 'content-type': 'text/html', 'content-length': body.length });
      answer.end(from.method === 'HEAD' ? undefined : body);
    } else {
      if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms));
      await pass(from, answer, fault);
    }
  };
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (from, answer) => {
    // Whoever gives up while the proxy is at it ends nothing but this.
    from.on('error', () => {});
    handle(from, answer).catch(() => answer.destroy());
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    if (away) {
      counts.set('away', (counts.get('away') ?? 0) + 1);
      socket.resetAndDestroy();
    }
  });
  const ownPort = await listen(server);
  return {
    endpoint: `http://127.0.0.1:${ownPort}`,
    counts,
    setSchedule: (next) => {
      schedule = next;
    },
    setAway: (next) => {
      away = next;
      if (away) for (const socket of sockets) socket.resetAndDestroy();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      agent.destroy();
      await once(server, 'close');
    },
  };
}

/** `bytes=a-b` moved by one byte. */
function shifted(range: string | undefined): string | undefined {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  return first === undefined ? range : `bytes=${Number(first) + 1}-${Number(last) + 1}`;
}
