import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { listen } from './listen.ts';

export interface FakeServer {
  readonly endpoint: string;
  /** The request heads that arrived, in order, over all connections. */
  readonly requests: readonly string[];
  /** Connections accepted so far. */
  readonly connections: number;
  /** Resolves when every connection that a request came on is closed. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A server of raw TCP for answers that no honest server gives.
 *
 * @param answer called with the socket when the head of a request has arrived; `count` is 1 for the first request
 */
export async function startFakeServer(
  answer: (socket: Socket, count: number, head: string) => void,
): Promise<FakeServer> {
  const sockets = new Set<Socket>();
  const asked = new Set<Socket>();
  const requests: string[] = [];
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      asked.delete(socket);
    });
    // A client that gives up resets the connection, which is what some tests want to see.
    socket.on('error', () => socket.destroy());
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      for (let end = received.indexOf('\r\n\r\n'); end !== -1; end = received.indexOf('\r\n\r\n')) {
        const head = received.slice(0, end);
        received = received.slice(end + 4);
        requests.push(head);
        asked.add(socket);
        answer(socket, requests.length, head);
      }
    });
  });
  const port = await listen(server);
  return {
    endpoint: `http://127.0.0.1:${port}`,
    requests,
    get connections() {
      return connections;
    },
    async idle() {
      // Undici connects anew after an abort, for the next request.
      for (const socket of asked) await new Promise((resolve) => socket.once('close', resolve));
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The text of an HTTP answer. */
export function httpAnswer(
  status: number,
  headers: Readonly<Record<string, string | number>>,
  body = '',
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Status\r\n${lines.join('')}\r\n${body}`;
}
