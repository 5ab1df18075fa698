import { systemClock } from '../clock.ts';
import { askMount } from '../control.ts';
import { isAbort, UserError } from '../errors.ts';
import type { FreezeProgress } from '../freeze/progress.ts';
import type { StagedResult } from '../freeze/staged-result.ts';
import { showProgress } from './freeze-progress.ts';
import { reportFreeze } from './freeze-report.ts';
import type { StagedTarget } from './staged-path.ts';

export interface FreezeStagedOptions {
  readonly name?: string;
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly keepStaging: boolean;
  readonly ignore?: readonly string[];
}

/**
 * Lets a mount freeze a folder of its staging area, and shows how far it is. SIGINT and SIGTERM detach; the freeze goes
 * on in the mount.
 *
 * @throws UserError with what the mount says, or that it goes on
 */
export async function freezeStaged(
  { mount, bucket, folder }: StagedTarget,
  path: string,
  { name, dryRun, json, keepStaging, ignore }: FreezeStagedOptions,
): Promise<void> {
  const detach = new AbortController();
  const onSignal = (): void => detach.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const progress = showProgress(systemClock);
  try {
    const answer = await askMount(mount.mountpoint, {
      command: 'freeze',
      args: { bucket, folder, name, dryRun, keepStaging, ignore },
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours tells nothing else
      onProgress: (value) => progress.update(value as FreezeProgress),
      signal: detach.signal,
    });
    progress.end();
    if (answer === undefined) throw new UserError(`the mount at ${mount.mountpoint} has just ended`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
    reportFreeze(answer as StagedResult, bucket, json);
  } catch (error) {
    progress.end();
    if (!isAbort(error)) throw error;
    throw new UserError(
      `no longer waiting: the freeze of ${path} goes on in the mount`,
      `"dtool-ecs-mount status" shows how far it is, the same command waits for it again, and ` +
        `"dtool-ecs-mount discard ${path}" gives it up.`,
      { cause: error },
    );
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
