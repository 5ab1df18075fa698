/**
 * A program that mounts the synthetic tree and does what its parent asks over the IPC channel. Its only argument is a
 * {@link FixtureMountOptions} as JSON.
 */
import { readdirSync } from 'node:fs';
import { messageOf, UserError } from '../../src/errors.ts';
import { startAutoUnmount } from '../../src/fuse/auto-unmount.ts';
import { Operations } from '../../src/fuse/operations.ts';
import { KernelTransport, type MountedKernel } from '../../src/fuse/transport/kernel/kernel-transport.ts';
import type { ReceiveMode } from '../../src/fuse/transport/kernel/receive/receiver.ts';
import { createLogger } from '../../src/log.ts';
import { createFixture, type FixtureCounts } from './fixture-tree.ts';

export interface FixtureMountOptions {
  readonly mountpoint: string;
  readonly receive: ReceiveMode;
  readonly source?: string;
  readonly allowOther?: boolean;
  readonly readOnly?: boolean;
  readonly refreshSeconds?: number;
  readonly autoUnmount?: boolean;
}

/** What the parent may ask. `cycle` unmounts and mounts again so many times. */
export type FixtureRequest =
  | { readonly ask: 'state' }
  | { readonly ask: 'cycle'; readonly times: number }
  /** Begins to invalidate a name in `stuck-dir`, without waiting for it. */
  | { readonly ask: 'invalidate-stuck' }
  | { readonly ask: 'change'; readonly content: string; readonly late: boolean };

/** What the program tells: once that it is ready or failed, then an answer to each request, and when the mount is gone. */
export type FixtureMessage =
  | { readonly tell: 'ready'; readonly receive: string }
  | {
      readonly tell: 'failed';
      readonly message: string;
      readonly advice: string | undefined;
      readonly user: boolean;
    }
  | { readonly tell: 'closed' }
  | { readonly tell: 'done' }
  | ({ readonly tell: 'state' } & FixtureState);

export interface FixtureState extends FixtureCounts {
  /** Nodes that the kernel knows. */
  readonly nodes: number;
  readonly waiting: number;
  /** Callers that have been sent a signal and go on waiting. */
  readonly watched: number;
  readonly openHandles: number;
  readonly descriptors: number;
  readonly threads: number;
}

const tell = (message: FixtureMessage) => process.send?.(message);
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what FixtureDaemon.start passes
const options = JSON.parse(process.argv[2] ?? '{}') as FixtureMountOptions;
const fixture = createFixture({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });
const log = createLogger('warn');

let operations = new Operations(fixture.tree);
async function mountOnce(): Promise<MountedKernel> {
  operations = new Operations(fixture.tree);
  return new KernelTransport({ receive: options.receive }).mount(options.mountpoint, operations, {
    source: options.source ?? 'fixture',
    allowOther: options.allowOther ?? false,
    allowNonEmpty: false,
    readOnly: options.readOnly ?? false,
    refreshSeconds: options.refreshSeconds ?? 60,
    log,
  });
}

async function serve(): Promise<void> {
  let mount = await mountOnce();
  const guard = options.autoUnmount === true ? await startAutoUnmount(options.mountpoint) : undefined;
  let cycling = false;
  const watch = async () => {
    await mount.closed;
    if (cycling) return;
    guard?.stop();
    tell({ tell: 'closed' });
    process.disconnect();
  };
  const answer = async (request: FixtureRequest): Promise<FixtureMessage> => {
    switch (request.ask) {
      case 'state':
        return {
          tell: 'state',
          ...fixture.counts,
          nodes: mount.knownNodes,
          waiting: mount.waitingRequests,
          watched: mount.watchedCallers,
          openHandles: operations.openHandles,
          descriptors: readdirSync('/proc/self/fd').length,
          threads: readdirSync('/proc/self/task').length,
        };
      case 'cycle':
        cycling = true;
        for (let time = 0; time < request.times; time++) {
          await mount.unmount();
          mount = await mountOnce();
        }
        cycling = false;
        void watch();
        return { tell: 'done' };
      case 'invalidate-stuck':
        mount.invalidation.invalidateEntry(fixture.stuckDirectory, 'x');
        return { tell: 'done' };
      case 'change':
      default:
        fixture.content = request.content;
        fixture.late = request.late;
        mount.invalidation.invalidateNode(fixture.changing.file, { content: true });
        mount.invalidation.invalidateEntry(fixture.changing.directory, 'late');
        await mount.invalidation.settled;
        return { tell: 'done' };
    }
  };
  process.on('message', (request: FixtureRequest) => {
    void answer(request).then(tell, (error: unknown) => {
      log.error({ error: messageOf(error) }, 'request failed');
      process.exit(1);
    });
  });
  process.once('SIGTERM', () => void mount.unmount());
  tell({ tell: 'ready', receive: mount.receive });
  await watch();
}

serve().catch((error: unknown) => {
  const advice = error instanceof UserError ? error.advice : undefined;
  tell({ tell: 'failed', message: messageOf(error), advice, user: error instanceof UserError });
  process.disconnect();
  process.exitCode = 1;
});
