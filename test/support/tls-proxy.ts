import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createServer } from 'node:tls';
import type { Certificate } from './certificates.ts';
import { listen } from './listen.ts';

/** An end of TLS before a server on this computer that speaks plain http. */
export interface TlsProxy {
  readonly port: number;
  /** Connections that were opened, and handshakes among them that came to an end. */
  readonly connections: number;
  readonly handshakes: number;
  /** Ends all connections; new ones get this certificate. */
  setCertificate(certificate: Certificate): void;
  close(): Promise<void>;
}

/** A proxy in front of a server; it looks at nothing, so that signatures stay valid. */
export async function startTlsProxy(target: string, certificate: Certificate): Promise<TlsProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let connections = 0;
  let handshakes = 0;
  const kept = <T extends Socket>(socket: T): T => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer({ ...certificate, ALPNProtocols: ['http/1.1'] }, (socket) => {
    handshakes++;
    const to = kept(connect(Number(port), hostname));
    socket.pipe(to).pipe(socket);
    // Whoever goes first takes the other along.
    socket.on('error', () => to.destroy()).on('close', () => to.destroy());
    to.on('error', () => socket.destroy()).on('close', () => socket.destroy());
  });
  server.on('connection', (socket: Socket) => {
    connections++;
    kept(socket);
  });
  // A client that refuses the certificate says so; the test looks at the client.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  const ownPort = await listen(server, 'localhost');
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: ownPort,
    get connections() {
      return connections;
    },
    get handshakes() {
      return handshakes;
    },
    setCertificate: (next) => {
      server.setSecureContext(next);
      endAll();
    },
    close: async () => {
      endAll();
      server.close();
      await once(server, 'close');
    },
  };
}
