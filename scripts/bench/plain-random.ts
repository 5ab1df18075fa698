import { PlainClient } from './plain-client.ts';

/**
 * Reads 4 KiB at random places of an object with the plain client and prints the time of a read, `{ "each": ms }`:
 * `plain-random.js ENDPOINT BUCKET KEY BYTES READS_AT_ONCE READS`.
 */
const READ_BYTES = 4_096;

const [endpoint = '', bucket = '', key = '', ...numbers] = process.argv.slice(2);
const [bytes = 0, depth = 1, reads = 1] = numbers.map(Number);
const client = new PlainClient(endpoint, bucket, key, depth);

async function reader(): Promise<void> {
  const buffer = Buffer.alloc(READ_BYTES);
  for (let read = 0; read < reads / depth; read += 1) {
    await client.get(Math.floor(Math.random() * (bytes / READ_BYTES)) * READ_BYTES, buffer);
  }
}

// Connections are there before anybody reads, as those of a mount are.
await Promise.all(Array.from({ length: depth }, async () => client.get(0, Buffer.alloc(READ_BYTES))));
const start = performance.now();
await Promise.all(Array.from({ length: depth }, reader));
console.log(JSON.stringify({ each: (performance.now() - start) / reads }));
client.close();
