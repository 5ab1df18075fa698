/**
 * A program that mounts a tree over a transport and tells its parent over the IPC channel when it has, and whenever it
 * is asked, what it was asked to do. Its only argument is a {@link TransportProgramOptions} as JSON. SIGTERM unmounts.
 */
import { messageOf } from '../../src/errors.ts';
import { startSession } from '../../src/fuse/session.ts';
import type { ReceiveMode } from '../../src/fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../../src/fuse/transport/transport.ts';
import { transportNamed } from '../../src/fuse/transport/transports.ts';
import { createLogger } from '../../src/log.ts';
import { createFixture } from './fixture-tree.ts';
import { memoryCounts, memoryTree } from './memory-tree.ts';

export interface TransportProgramOptions {
  readonly mountpoint: string;
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /** The tree in memory that everything can be done to, or the synthetic one that nothing can be done to. */
  readonly tree: 'memory' | 'synthetic';
}

export interface TransportProgramState {
  readonly openHandles: number;
  readonly writes: number;
  readonly longestWriteBytes: number;
  readonly syncs: number;
}

export type TransportProgramMessage =
  | { readonly tell: 'ready' }
  | { readonly tell: 'failed'; readonly message: string }
  | { readonly tell: 'state'; readonly state: TransportProgramState };

const tell = (message: TransportProgramMessage) => process.send?.(message);
const options = JSON.parse(process.argv[2] ?? '{}') as TransportProgramOptions;

async function serve(): Promise<void> {
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const tree = options.tree === 'memory' ? memoryTree(owner) : createFixture(owner).tree;
  const transport = transportNamed(options.transport, options.receive);
  const session = await startSession(options.mountpoint, tree, transport, {
    source: options.tree,
    allowOther: true,
    allowNonEmpty: false,
    readOnly: false,
    refreshSeconds: 60,
    log: createLogger('warn'),
  });
  process.on('message', () => {
    tell({ tell: 'state', state: { openHandles: session.openHandles, ...memoryCounts } });
  });
  process.once('SIGTERM', () => void session.unmount());
  tell({ tell: 'ready' });
  await session.closed;
  // libfuse's threads would keep the process.
  process.exit(0);
}

serve().catch((error: unknown) => {
  tell({ tell: 'failed', message: messageOf(error) });
  process.exitCode = 1;
  process.disconnect();
});
