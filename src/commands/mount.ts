import { canonicalMountpoint, isOpenDevice } from '../fuse/mountpoint.ts';
import type { MountCommandOptions } from './mount/request.ts';
import { metricsLine } from './mount/verdict.ts';
import { print, printError } from './terminal.ts';

/**
 * Mounts buckets at a directory: in the background, returning once the mount answers, or in the foreground until it
 * is unmounted, by Ctrl-C among others.
 *
 * @param buckets names; empty with `--all`
 * @param mountpoint a directory, or `/dev/fd/N` for a FUSE device that is open and mounted already
 * @throws UserError when it can't be mounted; Interrupted when a signal ends it before
 */
export async function mountCommand(
  buckets: readonly string[],
  mountpoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const request = { buckets, mountpoint: await canonicalMountpoint(mountpoint), options };
  // Loading what serves takes a while, and the command that starts another process needs none of it.
  // A device that is open here would not be open in another process.
  if (!options.foreground && !isOpenDevice(request.mountpoint)) {
    const { startInBackground } = await import('./mount/start-in-background.ts');
    await startInBackground(request);
    return;
  }
  const { serveMount } = await import('./mount/serve.ts');
  await serveMount(request, {
    onReady: ({ warnings, metrics }) => {
      // Else the log is on the terminal, and has them.
      if (options.logFile !== undefined) for (const warning of warnings) printError(warning);
      print(`${request.mountpoint} is mounted; Ctrl-C unmounts it.`);
      if (metrics !== undefined) print(metricsLine(metrics));
    },
  });
}
