import { connect, createServer } from 'node:net';

/**
 * A TCP proxy that lets everything a client sends wait: `delay-proxy.js HOST:PORT DELAY_MS`. Requests are a packet or
 * two and answers pass at once, so every request takes so much longer and nothing is slower. Prints its own port.
 */
const [target = '', delay = '0'] = process.argv.slice(2);
const { hostname, port } = new URL(`http://${target}`);
const delayMs = Number(delay);

const server = createServer({ noDelay: true }, (client) => {
  const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
  // Timers of one length fire in the order in which they were set.
  client.on('data', (chunk) => setTimeout(() => upstream.write(chunk), delayMs));
  client.on('end', () => setTimeout(() => upstream.end(), delayMs));
  upstream.pipe(client);
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address !== 'string') console.log(address.port);
});
