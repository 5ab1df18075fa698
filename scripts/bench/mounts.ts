import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { MountStatus } from '../../src/mount.ts';
import type { BenchBucket } from './bench-bucket.ts';
import { CLI } from './server.ts';
import type { World } from './world.ts';

const run = promisify(execFile);
const READY_MS = 30_000;

export const MOUNT_KINDS = ['ours', 's3fs', 'rclone'] as const;
export type MountKind = (typeof MOUNT_KINDS)[number];

export interface MountOptions {
  readonly bucket: BenchBucket;
  /** Through the proxy that lets requests wait. */
  readonly isSlow?: boolean;
  /** The cache directory of our mount; default: a new one, which goes with the mount. */
  readonly cache?: string;
  /** More for the command line of our mount. */
  readonly options?: readonly string[];
}

export interface Mounted {
  readonly path: string;
  readonly pid: number;
  /** What our mount tells of itself. */
  status(): Promise<MountStatus>;
  /** Unmounts and waits for the process; a second call does nothing. */
  close(): Promise<void>;
}

/** Mounts a bucket with one of the programs, each with what it is by default; undefined where it is not installed. */
export async function mountWith(
  kind: MountKind,
  world: World,
  options: MountOptions,
): Promise<Mounted | undefined> {
  if (kind !== 'ours' && !existsSync(`/usr/bin/${kind}`)) return undefined;
  const path = world.newDirectory();
  const cache = options.cache ?? world.newDirectory();
  const { command, args, env } = commandOf(kind, world, options, path, cache);
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    const exited = child.exitCode === null ? once(child, 'exit') : undefined;
    // Whatever still holds it open must not keep the bench from going on.
    await run('umount', [path]).catch(async () => {
      await run('umount', ['--lazy', path]).catch(() => {});
      child.kill('SIGTERM');
    });
    await exited;
    rmdirSync(path);
    if (options.cache === undefined) rmSync(cache, { recursive: true });
  };
  const status = async (): Promise<MountStatus> => {
    const { stdout } = await run(process.execPath, [CLI, 'status', '--json'], { env });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our program says nothing else
    const found = (JSON.parse(stdout) as MountStatus[]).find(({ mountpoint }) => mountpoint === path);
    if (!found) throw new Error(`no mount at ${path}: ${stdout}`);
    return found;
  };
  for (const end = performance.now() + READY_MS; !(await isMounted(path)); await sleep(20)) {
    if (child.exitCode === null && performance.now() < end) continue;
    await close();
    throw new Error(`${kind} did not mount`);
  }
  return { path, pid: child.pid ?? 0, status, close };
}

/** All that a mount has sent to its store since it began. */
export async function requestsOf(mounted: Mounted): Promise<number> {
  const { store } = await mounted.status();
  return Object.values(store.requests).reduce((sum, count) => sum + count, 0);
}

async function isMounted(path: string): Promise<boolean> {
  return run('mountpoint', ['-q', path]).then(
    () => true,
    () => false,
  );
}

function commandOf(
  kind: MountKind,
  world: World,
  { bucket, isSlow = false, options: more = [] }: MountOptions,
  path: string,
  cache: string,
): { readonly command: string; readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  // The SDK in rclone can't take the bundle of certificates that an environment may name; this is plain HTTP.
  const { AWS_CA_BUNDLE: _, ...env } = world.environment(bucket, isSlow);
  const { id, secret } = world.server.keys;
  if (kind === 'ours') {
    const profile = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
    const args = [
      ...profile,
      CLI,
      'mount',
      '--foreground',
      '--log-level',
      'warn',
      bucket.name,
      path,
      ...more,
    ];
    return { command: process.execPath, args, env: { ...env, DTOOL_CACHE_DIRECTORY: cache } };
  }
  if (kind === 's3fs') {
    const passwords = join(world.directory, 's3fs-passwords');
    writeFileSync(passwords, `${id}:${secret}\n`, { mode: 0o600 });
    const options = [`url=${world.endpoint(isSlow)}`, 'use_path_request_style', `passwd_file=${passwords}`];
    return {
      command: 's3fs',
      args: [bucket.name, path, '-f', ...options.flatMap((option) => ['-o', option])],
      env,
    };
  }
  return {
    command: 'rclone',
    args: [
      'mount',
      `:s3:${bucket.name}`,
      path,
      '--read-only',
      '--config',
      '/dev/null',
      '--log-level',
      'ERROR',
    ],
    env: {
      ...env,
      RCLONE_S3_PROVIDER: 'Ceph',
      RCLONE_S3_ENDPOINT: world.endpoint(isSlow),
      RCLONE_S3_ACCESS_KEY_ID: id,
      RCLONE_S3_SECRET_ACCESS_KEY: secret,
    },
  };
}
