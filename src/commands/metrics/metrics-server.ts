import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { UserError, hasErrorCode, messageOf } from '../../errors.ts';
import { METRICS_CONNECTIONS_MAX, METRICS_REQUEST_TIMEOUT_MS } from '../../limits.ts';
import type { Logger } from '../../log.ts';
import { EXPOSITION_CONTENT_TYPE } from './exposition.ts';

const ADDRESS = '127.0.0.1';
const PATH = '/metrics';

/** Serves numbers over HTTP to whoever is on this machine. */
export interface MetricsServer {
  readonly url: string;
  /** From now on the text comes from `collect`; before there is none (503), and where it fails (500). */
  serve(collect: () => Promise<string>): void;
  close(): Promise<void>;
}

/**
 * Listens on a port of 127.0.0.1.
 *
 * @param port 0 for any that is free
 * @throws UserError when it can't be had
 */
export async function listenForMetrics(port: number, log: Logger): Promise<MetricsServer> {
  let collect: (() => Promise<string>) | undefined;
  const timeouts = { headersTimeout: METRICS_REQUEST_TIMEOUT_MS, requestTimeout: METRICS_REQUEST_TIMEOUT_MS };
  const server = createServer(timeouts, (request, response) => {
    answer(request, collect)
      .catch((error: unknown): Answer => {
        log.error({ error: messageOf(error) }, 'metrics could not be collected');
        return { status: 500, text: 'The log of the mount says why this failed.\n' };
      })
      .then(
        (given) => send(request, response, given),
        () => response.destroy(),
      );
  });
  server.maxConnections = METRICS_CONNECTIONS_MAX;
  server.listen(port, ADDRESS);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw new UserError(
      `metrics can't be served on port ${port} of ${ADDRESS}: ` +
        (hasErrorCode(error, 'EADDRINUSE') ? 'it is in use' : messageOf(error)),
      'Give another with --metrics-port, or 0 for any that is free.',
      { cause: error },
    );
  }
  // From here on it can only be that a connection was not accepted, which whoever tried finds out.
  server.on('error', (error) => log.debug({ error: messageOf(error) }, 'a connection for metrics failed'));
  const address = server.address();
  return {
    url: `http://${ADDRESS}:${typeof address === 'object' ? address?.port : port}${PATH}`,
    serve: (from) => {
      collect = from;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly allow?: string;
}

async function answer(
  { method, url = '', headers }: IncomingMessage,
  collect: (() => Promise<string>) | undefined,
): Promise<Answer> {
  // A page of the web may have its name resolve to this machine, and so make a browser ask here in its place.
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(headers.host ?? ''))
    return { status: 403, text: `Only ${ADDRESS} and localhost are served here.\n` };
  if (url.split('?', 1)[0] !== PATH) return { status: 404, text: `The numbers are at ${PATH}.\n` };
  if (method !== 'GET' && method !== 'HEAD')
    return { status: 405, text: 'There is nothing but to read.\n', allow: 'GET, HEAD' };
  if (!collect) return { status: 503, text: 'The mount is not ready yet.\n' };
  return { status: 200, text: await collect() };
}

function send({ method }: IncomingMessage, response: ServerResponse, { status, text, allow }: Answer): void {
  response.writeHead(status, {
    'content-type': status === 200 ? EXPOSITION_CONTENT_TYPE : 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    ...(allow !== undefined && { allow }),
  });
  response.end(method === 'HEAD' ? undefined : text);
}
