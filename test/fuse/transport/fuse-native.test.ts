import { describeTransport } from '../../contract/transport.ts';
import { type Deviation, FUSE_NATIVE_DEVIATIONS } from '../../contract/transport-deviations.ts';

describeTransport('fuse-native', {
  transport: 'fuse-native',
  receive: 'auto',
  tree: 'memory',
  deviations: new Set(Object.keys(FUSE_NATIVE_DEVIATIONS) as Deviation[]),
});
