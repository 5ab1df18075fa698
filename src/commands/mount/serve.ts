import { join, resolve } from 'node:path';
import { z } from 'zod';
import { Config, plainHttpWarning } from '../../config.ts';
import { serveControl } from '../../control.ts';
import { UserError, messageOf } from '../../errors.ts';
import { transportNamed } from '../../fuse/transport/transports.ts';
import { createLogger } from '../../log.ts';
import { type MountStatus, type RunningMount, startMount } from '../../mount.ts';
import { stateDirectory } from '../../state-directory.ts';
import { cacheDirectoryOf, diskCacheOf } from '../disk-cache.ts';
import { expose } from '../metrics/exposition.ts';
import { type MetricsServer, listenForMetrics } from '../metrics/metrics-server.ts';
import { type ProcessUse, metricsOf } from '../metrics/mount-metrics.ts';
import type { MountCommandOptions } from '../mount.ts';
import { print } from '../terminal.ts';
import { metricsLine, tellParent } from './verdict.ts';

/** A folder of the staging area, and what to do with it; see `StagedFreezeOptions`. */
const STAGED = z.object({ bucket: z.string(), folder: z.string() });
const FREEZE = STAGED.extend({
  name: z.string().optional(),
  dryRun: z.boolean(),
  keepStaging: z.boolean(),
});

/**
 * Mounts buckets and serves the mount until it is gone, whoever ends it. Tells how that went to the command that started
 * this process, or on standard output where none did.
 *
 * @param buckets names; empty with `--all`
 * @param mountpoint canonical, or `/dev/fd/N` for a FUSE device that is open and mounted already
 * @throws UserError when it can't be mounted
 */
export async function serveMount(
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
    const config = await Config.load();
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
