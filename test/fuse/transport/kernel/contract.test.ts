import { describeTransport } from '../../../contract/transport.ts';

for (const receive of ['pipe', 'worker'] as const) {
  describeTransport(`kernel, by ${receive}`, {
    transport: 'kernel',
    receive,
    tree: 'memory',
    deviations: new Set(),
  });
}
