import { join, resolve } from 'node:path';
import { z } from 'zod';
import { Config, plainHttpWarning } from '../../config.ts';
import { type ControlHandlers, type ControlServer, listenForCommands } from '../../control-server.ts';
import { UserError, messageOf } from '../../errors.ts';
import { transportNamed } from '../../fuse/transport/transports.ts';
import { LogStream } from '../../log-stream.ts';
import { createLogger } from '../../log.ts';
import { type MountStatus, type RunningMount, startMount } from '../../mount.ts';
import { defaultStagingDirectory, homeWarning } from '../../state-directory.ts';
import { cacheDirectoryOf, diskCacheOf } from '../disk-cache.ts';
import { expose } from '../metrics/exposition.ts';
import { type MetricsServer, listenForMetrics } from '../metrics/metrics-server.ts';
import { type ProcessUse, metricsOf } from '../metrics/mount-metrics.ts';
import { Interrupted } from './interrupted.ts';
import type { MountRequest } from './request.ts';
import type { Ready } from './verdict.ts';

/** A folder of the staging area, and what to do with it; see `StagedFreezeOptions`. */
const STAGED = z.object({ bucket: z.string(), folder: z.string() });
const FREEZE = STAGED.extend({
  name: z.string().optional(),
  dryRun: z.boolean(),
  keepStaging: z.boolean(),
  ignore: z.array(z.string()).optional(),
});

/** The surroundings of a mount. */
interface Serving {
  /** Gives up the start of the mount; no more than that. */
  readonly signal?: AbortSignal;
  /** Hears once that the mount answers. */
  readonly onReady: (ready: Ready) => void;
}

/**
 * Mounts buckets and serves the mount until it is gone, whoever ends it. Everything that can fail is done before something
 * is mounted, and SIGINT and SIGTERM end the mount at any moment: one that has begun as well as one that has not.
 *
 * @throws UserError when it can't be mounted; Interrupted when a signal ends it before it answers; the reason of the signal
 */
export async function serveMount(request: MountRequest, { signal, onReady }: Serving): Promise<void> {
  const { buckets, mountpoint, options } = request;
  const starting = new AbortController();
  let mount: RunningMount | undefined;
  const end = (name: NodeJS.Signals): void => {
    starting.abort(new Interrupted(name, mountpoint));
    mount?.unmount().catch((error: unknown) => log.error(messageOf(error)));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  signal?.addEventListener('abort', () => starting.abort(signal.reason), { once: true });
  const stream = options.logFile
    ? await LogStream.open(resolve(options.logFile))
    : LogStream.ofStandardError();
  const log = createLogger(options.logLevel, stream);
  process.on('SIGHUP', () => {
    stream.reopen().catch((error: unknown) => log.warn(`the log can't be opened anew: ${messageOf(error)}`));
    void mount?.refresh();
  });
  // Node's own last words go to where standard error went at the start, which may be another file by now.
  process.on('uncaughtExceptionMonitor', (error) => log.fatal(error, 'the mount ends by a fault of its own'));
  const warnings: string[] = [];
  let started: RunningMount | undefined;
  let metrics: MetricsServer | undefined;
  let control: ControlServer | undefined;
  try {
    if (options.metricsPort !== undefined) metrics = await listenForMetrics(options.metricsPort, log);
    control = await listenForCommands(mountpoint);
    const config = await Config.load();
    warnings.push(...warningsOf(config, options.all ? allBuckets(config) : buckets));
    for (const warning of warnings) log.warn(warning);
    started = await startMount(
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
        stagingDirectory: resolve(options.stagingDir ?? defaultStagingDirectory()),
        takeStaging: options.takeStaging,
        refreshSeconds: options.refresh,
        tries: options.tries,
        cacheMemoryBytes: options.cacheMemory,
        metadataDirectory: join(cacheDirectoryOf(config, options), 'metadata-1'),
        diskCache: diskCacheOf(config, options),
      },
      log,
      starting.signal,
    );
    await control.serve(handlersOf(started, metrics, stream));
    // From here to the next await nobody can end it unheard.
    starting.signal.throwIfAborted();
  } catch (error) {
    await started?.unmount();
    await started?.closed;
    await Promise.all([control?.close(), metrics?.close()]);
    log.error(messageOf(error));
    await stream.flush();
    throw error;
  }
  mount = started;
  onReady({ warnings: [...warnings, ...mount.warnings], metrics: metrics?.url });
  // The current directory of a process in the background would keep a file system busy.
  process.chdir('/');
  await mount.closed;
  await Promise.all([control.close(), metrics?.close()]);
  await stream.flush();
}

/** What commands and metrics ask of a mount. */
function handlersOf(
  mount: RunningMount,
  metrics: MetricsServer | undefined,
  stream: LogStream,
): ControlHandlers {
  const status = async (): Promise<MountStatus> => ({
    ...(await mount.status()),
    metrics: metrics?.url,
    log: stream.lost,
  });
  metrics?.serve(async () => expose(metricsOf(await status(), processUse())));
  return {
    status,
    refresh: async () => mount.refresh(),
    unmount: async () => {
      const { staging } = await mount.staged.status();
      await mount.unmount();
      return { pid: process.pid, staging };
    },
    freeze: async (args, tell) => {
      const { bucket, folder, ...freezing } = FREEZE.parse(args);
      return mount.staged.freeze(bucket, folder, freezing, tell);
    },
    discard: async (args) => {
      const { bucket, folder } = STAGED.parse(args);
      return mount.staged.discard(bucket, folder);
    },
  };
}

function processUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return { residentBytes: process.memoryUsage.rss(), cpuSeconds: (user + system) / 1e6 };
}

/** What the user should know though it stops nothing. */
function warningsOf(config: Config, buckets: readonly string[]): readonly string[] {
  const home = homeWarning();
  return [
    ...(home === undefined ? [] : [home]),
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
