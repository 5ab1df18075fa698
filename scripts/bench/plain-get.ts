import { Agent, request } from 'node:http';
import { RequestSigner } from '../../src/ecs/request-signer.ts';

/**
 * The plain HTTP client of Node as the limit: reads an object in ranged GETs of 4 MiB, 8 at once, into buffers that are
 * there, and prints MB/s: `plain-get.js ENDPOINT BUCKET KEY SIZE`. Credentials are in AWS_ACCESS_KEY_ID and so on.
 */
const PART_BYTES = 4 << 20;
const PARTS_AT_ONCE = 8;

const [endpoint = '', bucket = '', key = '', size = '0'] = process.argv.slice(2);
const { host, hostname, port } = new URL(endpoint);
const agent = new Agent({ keepAlive: true, maxSockets: PARTS_AT_ONCE });
const path = `/${bucket}/${key}`;
const signer = new RequestSigner({
  credentials: async () => ({
    accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
  }),
  region: 'us-east-1',
  host,
});
const parts = Math.ceil(Number(size) / PART_BYTES);
let next = 0;

async function get(offset: number, target: Buffer): Promise<void> {
  const headers = {
    ...(await signer.sign('GET', path)),
    range: `bytes=${offset}-${offset + target.length - 1}`,
  };
  await new Promise<void>((resolve, reject) => {
    request({ agent, hostname, port, path, headers }, (response) => {
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

async function reader(): Promise<void> {
  const buffer = Buffer.alloc(PART_BYTES);
  while (next < parts) {
    const offset = next * PART_BYTES;
    next += 1;
    await get(offset, buffer.subarray(0, Math.min(PART_BYTES, Number(size) - offset)));
  }
}

const start = performance.now();
await Promise.all(Array.from({ length: PARTS_AT_ONCE }, reader));
console.log(Number(size) / 1_000 / (performance.now() - start));
agent.destroy();
