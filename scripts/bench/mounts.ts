import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { BUCKET, CLI, type World } from './world.ts';

const run = promisify(execFile);
const READY_MS = 30_000;

export type MountKind = 'ours' | 's3fs' | 'rclone';

export interface Mounted {
  readonly path: string;
  readonly pid: number;
  /** Unmounts and waits for the process; a second call does nothing. */
  close(): Promise<void>;
}

/** Mounts the bucket with one of the programs, each with what it is by default; undefined where it is not installed. */
export async function mountWith(
  kind: MountKind,
  world: World,
  endpoint: string,
): Promise<Mounted | undefined> {
  if (kind !== 'ours' && !existsSync(`/usr/bin/${kind}`)) return undefined;
  const path = mkdtempSync(join(world.directory, 'mnt-'));
  const { command, args, env } = commandOf(kind, world, endpoint, path);
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
  };
  for (const end = performance.now() + READY_MS; !(await isMounted(path)); await sleep(20)) {
    if (child.exitCode === null && performance.now() < end) continue;
    await close();
    throw new Error(`${kind} did not mount`);
  }
  return { path, pid: child.pid ?? 0, close };
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
  endpoint: string,
  path: string,
): { readonly command: string; readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  // The SDK in rclone can't take the bundle of certificates that an environment may name; this is plain HTTP.
  const { AWS_CA_BUNDLE: _, ...env } = world.environment(endpoint);
  if (kind === 'ours') {
    const profile = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((option) => option !== '');
    const args = [...profile, CLI, 'mount', '--foreground', '--log-level', 'warn', BUCKET, path];
    return { command: process.execPath, args, env };
  }
  if (kind === 's3fs') {
    const passwords = join(world.directory, 's3fs-passwords');
    writeFileSync(passwords, `${world.keys.id}:${world.keys.secret}\n`, { mode: 0o600 });
    const options = [`url=${endpoint}`, 'use_path_request_style', `passwd_file=${passwords}`];
    return {
      command: 's3fs',
      args: [BUCKET, path, '-f', ...options.flatMap((option) => ['-o', option])],
      env,
    };
  }
  return {
    command: 'rclone',
    args: ['mount', `:s3:${BUCKET}`, path, '--read-only', '--config', '/dev/null', '--log-level', 'ERROR'],
    env: {
      ...env,
      RCLONE_S3_PROVIDER: 'Ceph',
      RCLONE_S3_ENDPOINT: endpoint,
      RCLONE_S3_ACCESS_KEY_ID: world.keys.id,
      RCLONE_S3_SECRET_ACCESS_KEY: world.keys.secret,
    },
  };
}
