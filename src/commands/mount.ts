import { spawn } from 'node:child_process';
import { constants, accessSync, renameSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { Config, plainHttpWarning } from '../config.ts';
import { serveControl } from '../control.ts';
import { UserError, messageOf } from '../errors.ts';
import { canonicalMountpoint, isOpenDevice } from '../fuse/mountpoint.ts';
import type { ReceiveMode } from '../fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../fuse/transport/transport.ts';
import { transportNamed } from '../fuse/transport/transports.ts';
import { LOG_FILE_MAX_BYTES } from '../limits.ts';
import { type LogLevel, createLogger } from '../log.ts';
import { type MountStatus, type RunningMount, startMount } from '../mount.ts';
import { makePrivateDirectory, openPrivateFile } from '../private-files.ts';
import { stateDirectory } from '../state-directory.ts';
import { cacheDirectoryOf, diskCacheOf } from './disk-cache.ts';
import { expose } from './metrics/exposition.ts';
import { type MetricsServer, listenForMetrics } from './metrics/metrics-server.ts';
import { type ProcessUse, metricsOf } from './metrics/mount-metrics.ts';
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

/** What a mount in the background tells the command that started it, once. */
const VERDICT = z.discriminatedUnion('ready', [
  z.object({ ready: z.literal(true), warnings: z.array(z.string()), metrics: z.string().optional() }),
  z.object({ ready: z.literal(false), message: z.string(), advice: z.string().optional() }),
]);
type Verdict = z.infer<typeof VERDICT>;

/** A folder of the staging area, and what to do with it; see `StagedFreezeOptions`. */
const STAGED = z.object({ bucket: z.string(), folder: z.string() });
const FREEZE = STAGED.extend({
  name: z.string().optional(),
  dryRun: z.boolean(),
  keepStaging: z.boolean(),
});

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
  if (options.foreground || isOpenDevice(path)) await runMount(buckets, path, options);
  else await startInBackground(path, options.logFile);
}

async function runMount(
  buckets: readonly string[],
  mountpoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const log = createLogger(options.logLevel, options.logFile);
  const warnings: string[] = [];
  let mount: RunningMount;
  let metrics: MetricsServer | undefined;
  try {
    if (options.metricsPort !== undefined) metrics = await listenForMetrics(options.metricsPort, log);
    const config = new Config();
    warnings.push(...warningsOf(config, options.all ? allBuckets(config) : buckets));
    for (const warning of warnings) log.warn(warning);
    mount = await startMount(
      config,
      {
        buckets: options.all ? allBuckets(config) : buckets,
        bucketDirectories: options.all || buckets.length > 1,
        mountpoint,
        transport: transportNamed(options.transport, options.receive),
        ownership: {
          uid: options.uid ?? process.getuid?.() ?? 0,
          gid: options.gid ?? process.getgid?.() ?? 0,
          umask: options.umask,
        },
        allowOther: options.allowOther,
        allowNonEmpty: options.allowNonEmpty,
        autoUnmount: options.autoUnmount,
        readOnly: options.readOnly,
        stagingDirectory: resolve(options.stagingDir ?? join(stateDirectory(), 'staging')),
        refreshSeconds: options.refresh,
        tries: options.tries,
        cacheMemoryBytes: options.cacheMemory,
        metadataDirectory: join(cacheDirectoryOf(config, options), 'metadata-1'),
        diskCache: diskCacheOf(config, options),
      },
      log,
    );
  } catch (error) {
    await metrics?.close();
    log.error(messageOf(error));
    tellParent({
      ready: false,
      message: messageOf(error),
      advice: error instanceof UserError ? error.advice : undefined,
    });
    throw error;
  }

  const end = (): void => {
    mount.unmount().catch((error: unknown) => log.error(messageOf(error)));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => void mount.refresh());
  const status = async (): Promise<MountStatus> => ({ ...(await mount.status()), metrics: metrics?.url });
  metrics?.serve(async () => expose(metricsOf(await status(), processUse())));
  const control = await serveControl(mountpoint, {
    status,
    refresh: async () => mount.refresh(),
    unmount: async () => {
      await mount.unmount();
      return { pid: process.pid };
    },
    freeze: async (args, tell) => {
      const { bucket, folder, ...freezing } = FREEZE.parse(args);
      return mount.staged.freeze(bucket, folder, freezing, tell);
    },
    discard: async (args) => {
      const { bucket, folder } = STAGED.parse(args);
      return mount.staged.discard(bucket, folder);
    },
  });
  if (process.send) {
    tellParent({ ready: true, warnings: [...warnings, ...mount.warnings], metrics: metrics?.url });
  } else {
    print(`${mountpoint} is mounted; Ctrl-C unmounts it.`);
    if (metrics) print(metricsLine(metrics.url));
  }
  // The current directory of a process in the background would keep a file system busy.
  process.chdir('/');
  await mount.closed;
  await Promise.all([control.close(), metrics?.close()]);
}

function metricsLine(url: string): string {
  return `Its numbers are at ${url}, for all users of this machine.`;
}

function processUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

/** What the user should know though it stops nothing. */
function warningsOf(config: Config, buckets: readonly string[]): readonly string[] {
  return [
    ...config.warnings,
    ...buckets.flatMap((bucket) => {
      try {
        return plainHttpWarning(config.bucketConfig(bucket)) ?? [];
      } catch {
        // Whoever mounts it says what is wrong with it.
        return [];
      }
    }),
  ];
}

function tellParent(verdict: Verdict): void {
  process.send?.(verdict, () => process.disconnect?.());
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
  const verdict = await new Promise<Verdict>((resolveVerdict, reject) => {
    child.once('message', (message) => resolveVerdict(VERDICT.parse(message)));
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      resolveVerdict({
        ready: false,
        message: `the mount ended before it was ready (${signal ?? `exit code ${code}`})`,
        advice: `Its log may say why: ${logFile}`,
      }),
    );
  });
  if (!verdict.ready) throw new UserError(verdict.message, verdict.advice);
  child.unref();
  for (const warning of verdict.warnings) printError(warning);
  print(`${mountpoint} is mounted (pid ${child.pid}, log ${logFile}).`);
  print(`"dtool-ecs-mount umount ${mountpoint}" unmounts it.`);
  if (verdict.metrics !== undefined) print(metricsLine(verdict.metrics));
}

function allBuckets(config: Config): readonly string[] {
  const buckets = config.configuredBuckets();
  if (buckets.length === 0) {
    throw new UserError(
      'no bucket is configured',
      `Set DTOOL_ECS_ENDPOINT_<bucket> and its keys in the environment or in ${config.file}.`,
    );
  }
  return buckets;
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
