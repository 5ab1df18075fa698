import { spawn } from 'node:child_process';
import { constants, accessSync, renameSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError, messageOf } from '../errors.ts';
import { canonicalMountpoint, isOpenDevice } from '../fuse/mountpoint.ts';
import type { ReceiveMode } from '../fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../fuse/transport/transport.ts';
import { LOG_FILE_MAX_BYTES } from '../limits.ts';
import type { LogLevel } from '../log-level.ts';
import { makePrivateDirectory, openPrivateFile } from '../private-files.ts';
import { stateDirectory } from '../state-directory.ts';
import { metricsLine, verdictOf } from './mount/verdict.ts';
import { print, printError } from './terminal.ts';

export interface MountCommandOptions {
  readonly all: boolean;
  readonly foreground: boolean;
  readonly allowOther: boolean;
  readonly allowNonEmpty: boolean;
  readonly autoUnmount: boolean;
  readonly readOnly: boolean;
  readonly stagingDir?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly umask: number;
  readonly refresh: number;
  readonly tries: number;
  readonly cacheMemory: number;
  readonly cacheDir?: string;
  readonly cacheSize: number | 'none';
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /** Undefined: no metrics are served. */
  readonly metricsPort?: number;
  readonly logLevel: LogLevel;
  readonly logFile?: string;
}

/**
 * Mounts buckets at a directory: in the background, returning once the mount answers, or in the foreground until it
 * is unmounted, by Ctrl-C among others.
 *
 * @param buckets names; empty with `--all`
 * @param mountpoint a directory, or `/dev/fd/N` for a FUSE device that is open and mounted already
 * @throws UserError when it can't be mounted
 */
export async function mountCommand(
  buckets: readonly string[],
  mountpoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const path = await canonicalMountpoint(mountpoint);
  // A device that is open here would not be open in another process.
  if (options.foreground || isOpenDevice(path)) {
    // Loading what serves takes a while, and the command that starts another process needs none of it.
    const { serveMount } = await import('./mount/serve.ts');
    await serveMount(buckets, path, options);
  } else await startInBackground(path, options.logFile);
}

/** Starts this same command again, detached and with `--foreground`, and waits for its verdict. */
async function startInBackground(mountpoint: string, wantedLogFile: string | undefined): Promise<void> {
  const logFile = wantedLogFile ?? defaultLogFile(mountpoint);
  const output = await openLogFile(logFile, wantedLogFile === undefined);
  const [script = ''] = process.argv.slice(1);
  const child = spawn(
    process.execPath,
    [...process.execArgv, script, ...process.argv.slice(2), '--foreground', '--log-file', logFile],
    { detached: true, stdio: ['ignore', output, output, 'ipc'] },
  );
  const verdict = await verdictOf(child, logFile);
  if (!verdict.ready) throw new UserError(verdict.message, verdict.advice);
  child.unref();
  for (const warning of verdict.warnings) printError(warning);
  print(`${mountpoint} is mounted (pid ${child.pid}, log ${logFile}).`);
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
    else await mkdir(directory, { recursive: true, mode: 0o700 });
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
