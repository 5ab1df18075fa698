import { Agent, request } from 'node:http';
import { systemClock } from '../../src/clock.ts';
import { RequestSigner } from '../../src/ecs/request-signer.ts';

/**
 * The plain HTTP client of Node as the limit: ranged GETs of one object, into buffers that are there. Credentials are in
 * AWS_ACCESS_KEY_ID and so on.
 */
export class PlainClient {
  readonly #agent: Agent;
  readonly #url: URL;
  readonly #path: string;
  readonly #signer: RequestSigner;

  /** @param connections how many requests are made at once */
  constructor(endpoint: string, bucket: string, key: string, connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.#url = new URL(endpoint);
    this.#path = `/${bucket}/${key}`;
    this.#signer = new RequestSigner({
      credentials: async () => ({
        accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
        secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
      }),
      region: 'us-east-1',
      host: this.#url.host,
      clock: systemClock,
    });
  }

  /** Fills a buffer from an offset on. */
  async get(offset: number, target: Buffer): Promise<void> {
    const { hostname, port } = this.#url;
    const path = this.#path;
    const range = `bytes=${offset}-${offset + target.length - 1}`;
    const headers = { ...(await this.#signer.sign('GET', path)), range };
    await new Promise<void>((resolve, reject) => {
      request({ agent: this.#agent, hostname, port, path, headers }, (response) => {
        let filled = 0;
        response.on('data', (chunk: Buffer) => {
          filled += chunk.copy(target, filled);
        });
        response.on('end', () => {
          if (response.statusCode === 206 && filled === target.length) resolve();
          else reject(new Error(`status ${response.statusCode}, ${filled} bytes`));
        });
        response.on('error', reject);
      })
        .on('error', reject)
        .end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
