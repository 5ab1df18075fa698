import { UserError, messageOf } from '../../errors.ts';
import { Interrupted } from './interrupted.ts';
import type { MountRequest } from './request.ts';
import { serveMount } from './serve.ts';
import { tellCommand } from './verdict.ts';

/**
 * The process of a mount in the background. It hears from the command that started it what to mount, once; its arguments
 * are for who looks at a list of processes. It starts no process like itself: nothing here can.
 */

/** The command ended before it heard how the start went: nobody knows of this mount. */
class Orphaned extends Error {
  constructor() {
    super('the command that started this mount has ended');
  }
}

const orphaned = new AbortController();
const onDisconnect = (): void => orphaned.abort(new Orphaned());
process.once('disconnect', onDisconnect);

async function requested(): Promise<MountRequest> {
  return new Promise((resolve, reject) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the command says nothing else
    process.once('message', (message) => resolve(message as MountRequest));
    orphaned.signal.addEventListener('abort', () => reject(orphaned.signal.reason), { once: true });
    if (!process.connected) onDisconnect();
  });
}

async function run(): Promise<number> {
  try {
    const request = await requested();
    await serveMount(request, {
      signal: orphaned.signal,
      onReady: (ready) => {
        process.off('disconnect', onDisconnect);
        void tellCommand({ ready: true, ...ready });
      },
    });
    return 0;
  } catch (error) {
    process.off('disconnect', onDisconnect);
    await tellCommand({
      ready: false,
      message: messageOf(error),
      advice: error instanceof UserError ? error.advice : undefined,
      signal: error instanceof Interrupted ? error.signal : undefined,
    });
    return error instanceof Interrupted ? error.exitCode : 1;
  }
}

// fuse-native keeps handles of its own open, which would hold the process for ever.
process.exit(await run());
