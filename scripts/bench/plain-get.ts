import { PlainClient } from './plain-client.ts';

/**
 * Reads an object with the plain client from begin to end, in parts of 4 MiB, 8 at once, and prints
 * `{ "rate": MB/s }`: `plain-get.js ENDPOINT BUCKET KEY BYTES`.
 */
const PART_BYTES = 4 << 20;
const PARTS_AT_ONCE = 8;

const [endpoint = '', bucket = '', key = '', size = '0'] = process.argv.slice(2);
const bytes = Number(size);
const client = new PlainClient(endpoint, bucket, key, PARTS_AT_ONCE);
let next = 0;

async function reader(): Promise<void> {
  const buffer = Buffer.alloc(PART_BYTES);
  while (next < bytes) {
    const offset = next;
    next += PART_BYTES;
    await client.get(offset, buffer.subarray(0, Math.min(PART_BYTES, bytes - offset)));
  }
}

const start = performance.now();
await Promise.all(Array.from({ length: PARTS_AT_ONCE }, reader));
console.log(JSON.stringify({ rate: bytes / 1_000 / (performance.now() - start) }));
client.close();
