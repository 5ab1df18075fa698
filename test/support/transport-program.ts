/**
 * A program that mounts a tree over a transport and tells its parent over the IPC channel when it has, and whenever it
 * is asked, what it was asked to do. Its only argument is a {@link TransportProgramOptions} as JSON. SIGTERM unmounts.
 */
import { type FsErrorCode, messageOf } from '../../src/errors.ts';
import { Area } from '../../src/fuse/staging/area.ts';
import { ownArea } from '../../src/fuse/staging/known-areas.ts';
import { pace } from '../../src/fuse/staging/pace.ts';
import { startSession } from '../../src/fuse/session.ts';
import type { ReceiveMode } from '../../src/fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../../src/fuse/transport/transport.ts';
import type { Owner } from '../../src/fuse/tree/changes.ts';
import { transportNamed } from '../../src/fuse/transport/transports.ts';
import type { Tree } from '../../src/fuse/tree/node.ts';
import { StagingRoot } from '../../src/fuse/tree/staging-root.ts';
import { systemClock } from '../../src/clock.ts';
import { createLogger } from '../../src/log.ts';
import { createFixture } from './fixture-tree.ts';
import { memoryCounts, memoryFaults, memoryTree } from './memory-tree.ts';

export interface TransportProgramOptions {
  readonly mountpoint: string;
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /**
   * What everything can be done to, in memory or in a staging area, whose folders are at its top; or the synthetic one
   * that nothing can be done to.
   */
  readonly tree: 'memory' | 'staging' | 'synthetic';
  /** Of the staging area. */
  readonly stagingDirectory?: string;
  /** Whether the local disk is used as if it was slow: by the thread pool alone. */
  readonly slowDisk?: boolean;
}

export interface TransportProgramState {
  readonly openHandles: number;
  readonly writes: number;
  readonly longestWriteBytes: number;
  readonly syncs: number;
}

/** Sets what the tree in memory is to fail with, see {@link memoryFaults}, or only asks for the state, which is the answer to both. */
export type TransportProgramRequest = 'state' | { readonly flush?: FsErrorCode };

export type TransportProgramMessage =
  | { readonly tell: 'ready' }
  | { readonly tell: 'failed'; readonly message: string }
  | { readonly tell: 'state'; readonly state: TransportProgramState };

const log = createLogger('warn');
const tell = (message: TransportProgramMessage) => process.send?.(message);
const options = JSON.parse(process.argv[2] ?? '{}') as TransportProgramOptions;

async function makeTree(owner: Owner): Promise<Tree> {
  switch (options.tree) {
    case 'memory':
      return memoryTree(owner);
    case 'synthetic':
      return createFixture(owner).tree;
    case 'staging':
    default: {
      const endpoint = 'http://localhost';
      const known = await ownArea(options.stagingDirectory ?? '', 'bucket', endpoint);
      const area = await Area.open(known, {
        endpoint,
        datasets: [],
        mountpoint: options.mountpoint,
        log,
      });
      if (options.slowDisk) pace.startOn(0);
      const root = await StagingRoot.open(area, {
        bucket: 'bucket',
        ownership: { ...owner, umask: 0 },
        clock: systemClock,
        log,
        freeze: async () => {},
        onRemoved: () => {},
        onSettled: () => {},
        onMoved: () => {},
      });
      return { root, space: async () => ({ bytes: 0, files: 0, free: await area.room() }) };
    }
  }
}

async function serve(): Promise<void> {
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const tree = await makeTree(owner);
  const transport = transportNamed(options.transport, options.receive);
  const session = await startSession(options.mountpoint, tree, transport, {
    source: options.tree,
    // Users other than root may not have it, and their tests are their own.
    allowOther: owner.uid === 0,
    allowNonEmpty: false,
    readOnly: false,
    refreshSeconds: 60,
    log,
  });
  process.on('message', (request: TransportProgramRequest) => {
    if (request !== 'state') memoryFaults.flush = request.flush;
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
