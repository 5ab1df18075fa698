import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { externalS3 } from '../../test/support/s3-bucket.ts';
import type { Cleaner } from './cleaner.ts';

const REPOSITORY = resolve(import.meta.dirname, '../../..');
export const CLI = join(REPOSITORY, 'dist/cli.js');
/** Three freezes of 1 GiB a round, and what is read. */
const RADOSGW_BYTES = 12 * 2 ** 30;

export const SERVERS = ['radosgw', 'embedded'] as const;

/** Where the objects are. */
export interface Server {
  readonly name: string;
  readonly endpoint: string;
  readonly keys: { readonly id: string; readonly secret: string };
  /** Whether it was there before us. */
  readonly isExternal: boolean;
}

/**
 * The store that the environment names (DTOOL_ECS_TEST_ENDPOINT and so on), or one that is started, as processes of its
 * own.
 *
 * @param wanted default: radosgw where it is installed
 */
export async function startServer(
  cleaner: Cleaner,
  directory: string,
  wanted: (typeof SERVERS)[number] | undefined,
): Promise<Server> {
  const external = externalS3();
  if (external && wanted === undefined) {
    const { endpoint, credentials } = external;
    const keys = { id: credentials.accessKeyId, secret: credentials.secretAccessKey };
    return { name: endpoint, endpoint, keys, isExternal: true };
  }
  const hasRadosgw = existsSync('/usr/bin/radosgw');
  return (wanted ?? (hasRadosgw ? 'radosgw' : 'embedded')) === 'radosgw'
    ? radosgw(cleaner, directory)
    : embedded(cleaner);
}

/** A proxy to the server that adds a delay to every request. @returns its address */
export async function startDelayProxy(
  cleaner: Cleaner,
  { endpoint }: Server,
  delayMs: number,
): Promise<string> {
  const proxy = resolve(import.meta.dirname, 'delay-proxy.js');
  const child = program(cleaner, process.execPath, [proxy, new URL(endpoint).host, String(delayMs)]);
  if (!child.stdout) throw new Error('the proxy has no output');
  for await (const port of createInterface(child.stdout)) return `http://127.0.0.1:${port}`;
  throw new Error('the proxy did not start');
}

async function radosgw(cleaner: Cleaner, directory: string): Promise<Server> {
  const port = 7_900 + (process.pid % 90);
  const place = join(directory, 'radosgw');
  const env = {
    ...process.env,
    RGW_PORT: String(port),
    MON_PORT: String(port + 100),
    OSD_BYTES: String(RADOSGW_BYTES),
  };
  const run = promisify(execFile);
  cleaner.add(async () => {
    await run(join(REPOSITORY, '.ci/radosgw-down.sh'), [place]);
  });
  await run(join(REPOSITORY, '.ci/radosgw-up.sh'), [place], { env });
  const keys = { id: 'ADMINKEY', secret: 'ADMINSECRET' };
  return { name: 'radosgw', endpoint: `http://127.0.0.1:${port}`, keys, isExternal: false };
}

async function embedded(cleaner: Cleaner): Promise<Server> {
  const child = program(cleaner, process.execPath, [CLI, 'demo', '--server-only']);
  const settings = new Map<string, string>();
  if (!child.stdout) throw new Error('the server has no output');
  for await (const line of createInterface(child.stdout)) {
    const [, name = '', value = ''] = /^export DTOOL_ECS_(\S+)_lab=(.*)$/.exec(line) ?? [];
    settings.set(name, value);
    if (line.startsWith('dtool-ecs-mount')) break;
  }
  const of = (name: string): string => settings.get(name) ?? '';
  const keys = { id: of('ACCESS_KEY_ID'), secret: of('SECRET_ACCESS_KEY') };
  return { name: 'the embedded server', endpoint: of('ENDPOINT'), keys, isExternal: false };
}

function program(cleaner: Cleaner, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleaner.add(async () => {
    if (child.exitCode !== null || !child.kill('SIGTERM')) return;
    await once(child, 'exit');
  });
  return child;
}
