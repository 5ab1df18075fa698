import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, accessSync, renameSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { UserError, messageOf } from '../../errors.ts';
import { LOG_FILE_MAX_BYTES } from '../../limits.ts';
import { makeDirectories } from '../../make-directories.ts';
import { makePrivateDirectory, openPrivateFile } from '../../private-files.ts';
import { stateDirectory } from '../../state-directory.ts';
import { print, printError } from '../terminal.ts';
import { heapLimitOptions } from './heap-limit.ts';
import { Interrupted } from './interrupted.ts';
import type { MountRequest } from './request.ts';
import { metricsLine, verdictOf } from './verdict.ts';

/** The file of the process beside this one, compiled or not. */
const PROCESS = new URL(
  `./background-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`,
  import.meta.url,
);

/**
 * Mounts in a process of its own that outlives this one, and returns once the mount answers. SIGINT and SIGTERM until then
 * end the mount as well.
 *
 * @throws UserError when it can't be mounted; Interrupted when it is ended by a signal, which one of the two has got
 */
export async function startInBackground(request: MountRequest): Promise<void> {
  const { buckets, mountpoint, options } = request;
  const logFile = resolve(options.logFile ?? defaultLogFile(mountpoint));
  const interrupted = new AbortController();
  let mount: ChildProcess | undefined;
  // A second one ends this process at once, and the other on its own.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      interrupted.abort(new Interrupted(signal, mountpoint));
      mount?.kill('SIGTERM');
    });
  }
  const output = await openLogFile(logFile, options.logFile === undefined);
  interrupted.signal.throwIfAborted();
  mount = spawn(
    process.execPath,
    [
      ...process.execArgv,
      ...heapLimitOptions(),
      fileURLToPath(PROCESS),
      ...(options.all ? ['--all'] : buckets),
      mountpoint,
    ],
    { detached: true, stdio: ['ignore', output, output, 'ipc'] },
  );
  const exited = once(mount, 'exit').catch(() => {});
  // One that has just ended has not heard it; it says so itself.
  mount.send({ ...request, options: { ...options, logFile } } satisfies MountRequest, () => {});
  const verdict = await verdictOf(mount, logFile);
  // Node tells of a signal that came before the verdict only after it.
  await setImmediate();
  if (interrupted.signal.aborted) await exited;
  interrupted.signal.throwIfAborted();
  if (!verdict.ready) {
    if (verdict.signal) throw new Interrupted(verdict.signal, mountpoint);
    throw new UserError(verdict.message, verdict.advice);
  }
  mount.unref();
  for (const warning of verdict.warnings) printError(warning);
  print(`${mountpoint} is mounted (pid ${mount.pid}, log ${logFile}).`);
  print(`"dtool-ecs-mount umount ${mountpoint}" unmounts it.`);
  if (verdict.metrics !== undefined) print(metricsLine(verdict.metrics));
}

/** In the XDG state directory, one for each mountpoint. */
function defaultLogFile(mountpoint: string): string {
  const name = mountpoint.replaceAll('/', '-').replace(/^-/, '') || basename(mountpoint) || 'root';
  return join(stateDirectory(), 'log', `${name}.log`);
}

/** @param isOurs whether the directory is this program's, and not one that the user has named */
async function openLogFile(path: string, isOurs: boolean): Promise<number> {
  const directory = dirname(resolve(path));
  try {
    if (isOurs) await makePrivateDirectory(directory);
    else await makeDirectories(directory);
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_FILE_MAX_BYTES)
      renameSync(path, `${path}.1`);
    const file = openPrivateFile(path);
    accessSync(path, constants.W_OK);
    return file;
  } catch (error) {
    throw new UserError(
      `the log file ${path} can't be written: ${messageOf(error)}`,
      'Give another: --log-file PATH.',
      {
        cause: error,
      },
    );
  }
}
