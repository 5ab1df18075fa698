import { describeTransport } from '../../contract/transport.ts';
import { type Deviation, FUSE_NATIVE_DEVIATIONS } from '../../contract/transport-deviations.ts';

/** A staging area is all that a tree in memory is, over both transports. */
describeTransport('staging over the kernel transport', {
  transport: 'kernel',
  receive: 'auto',
  tree: 'staging',
  deviations: new Set(),
});

describeTransport('staging on a slow disk', {
  transport: 'kernel',
  receive: 'auto',
  tree: 'staging',
  slowDisk: true,
  deviations: new Set(),
});

describeTransport('staging over fuse-native', {
  transport: 'fuse-native',
  receive: 'auto',
  tree: 'staging',
  deviations: new Set(Object.keys(FUSE_NATIVE_DEVIATIONS) as Deviation[]),
});
