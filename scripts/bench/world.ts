import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { Cleaner } from './cleaner.ts';
import { type Mounted, type MountKind, mountWith } from './mounts.ts';

const run = promisify(execFile);
const REPOSITORY = resolve(import.meta.dirname, '../../..');
export const CLI = join(REPOSITORY, 'dist/cli.js');
export const BUCKET = 'bench';
const PROXY_DELAY_MS = 20;

/** A server with a bucket, reached at once or through a proxy that adds 20 ms to every request. */
export class World {
  readonly directory: string;
  readonly server: string;
  readonly endpoint: string;
  readonly slowEndpoint: string;
  readonly keys: { readonly id: string; readonly secret: string };
  readonly #cleaner: Cleaner;
  readonly #prepared = new Map<string, Promise<unknown>>();

  private constructor(
    cleaner: Cleaner,
    directory: string,
    server: { readonly name: string; readonly endpoint: string; readonly keys: World['keys'] },
    slowEndpoint: string,
  ) {
    this.#cleaner = cleaner;
    this.directory = directory;
    this.server = server.name;
    this.endpoint = server.endpoint;
    this.keys = server.keys;
    this.slowEndpoint = slowEndpoint;
  }

  static async start(cleaner: Cleaner): Promise<World> {
    const directory = mkdtempSync(join(tmpdir(), 'dtool-ecs-mount-bench-'));
    cleaner.add(() => rmSync(directory, { recursive: true }));
    const server = existsSync('/usr/bin/radosgw')
      ? await radosgw(cleaner, directory)
      : await embedded(cleaner);
    const proxy = resolve(import.meta.dirname, 'delay-proxy.js');
    const child = program(cleaner, process.execPath, [
      proxy,
      new URL(server.endpoint).host,
      String(PROXY_DELAY_MS),
    ]);
    const port = await firstLine(child);
    const world = new World(cleaner, directory, server, `http://127.0.0.1:${port}`);
    const client = world.client();
    await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    client.destroy();
    return world;
  }

  /** The SDK's client of the server. */
  client(): S3Client {
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
    return new S3Client({
      endpoint: this.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: this.keys.id, secretAccessKey: this.keys.secret },
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  /** Makes something once that several rows need. */
  async once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const known = this.#prepared.get(name);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a name stands for one thing
    if (known) return known as Promise<T>;
    const made = make();
    this.#prepared.set(name, made);
    return made;
  }

  /** The environment of our programs. */
  environment(endpoint = this.endpoint): NodeJS.ProcessEnv {
    return {
      ...process.env,
      [`DTOOL_ECS_ENDPOINT_${BUCKET}`]: endpoint,
      [`DTOOL_ECS_ACCESS_KEY_ID_${BUCKET}`]: this.keys.id,
      [`DTOOL_ECS_SECRET_ACCESS_KEY_${BUCKET}`]: this.keys.secret,
      AWS_ACCESS_KEY_ID: this.keys.id,
      AWS_SECRET_ACCESS_KEY: this.keys.secret,
      XDG_STATE_HOME: join(this.directory, 'state'),
      DTOOL_CACHE_DIRECTORY: join(this.directory, 'cache'),
    };
  }

  /** Makes a dataset of a directory. */
  async freeze(folder: string, name: string): Promise<void> {
    await run(process.execPath, [CLI, 'freeze', folder, '--bucket', BUCKET, '--name', name], {
      env: this.environment(),
    });
  }

  /** A mount of the bucket; undefined where the program is not installed. Goes with {@link Mounted.close}. */
  async mount(kind: MountKind, endpoint = this.endpoint): Promise<Mounted | undefined> {
    const mounted = await mountWith(kind, this, endpoint);
    if (mounted) this.#cleaner.add(() => mounted.close());
    return mounted;
  }

  /** Empties the kernel's caches, as root can. */
  dropCaches(): void {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  }

  /** Runs a Python program that prints a number; `sys.argv` has the arguments. */
  async python(script: string, ...args: readonly string[]): Promise<number> {
    const { stdout } = await run('python3', ['-c', script, ...args]);
    return Number(stdout);
  }

  /** Runs a program of the bench that prints a number. */
  async node(name: string, ...args: readonly string[]): Promise<number> {
    const { stdout } = await run(process.execPath, [resolve(import.meta.dirname, name), ...args], {
      env: this.environment(),
    });
    return Number(stdout);
  }
}

type Server = { readonly name: string; readonly endpoint: string; readonly keys: World['keys'] };

async function radosgw(cleaner: Cleaner, directory: string): Promise<Server> {
  const port = 7_900 + (process.pid % 90);
  const place = join(directory, 'radosgw');
  const env = { ...process.env, RGW_PORT: String(port), MON_PORT: String(port + 100) };
  cleaner.add(async () => {
    await run(join(REPOSITORY, '.ci/radosgw-down.sh'), [place]);
  });
  await run(join(REPOSITORY, '.ci/radosgw-up.sh'), [place], { env });
  const keys = { id: 'ADMINKEY', secret: 'ADMINSECRET' };
  return { name: 'radosgw', endpoint: `http://127.0.0.1:${port}`, keys };
}

async function embedded(cleaner: Cleaner): Promise<Server> {
  const child = program(cleaner, process.execPath, [CLI, 'demo', '--server-only']);
  const settings = new Map<string, string>();
  if (!child.stdout) throw new Error('the server has no output');
  for await (const line of createInterface(child.stdout)) {
    const [, name = '', value = ''] = /^export (\S+)_lab=(.*)$/.exec(line) ?? [];
    settings.set(name, value);
    if (line.startsWith('dtool-ecs-mount')) break;
  }
  const of = (name: string): string => settings.get(`DTOOL_ECS_${name}`) ?? '';
  const keys = { id: of('ACCESS_KEY_ID'), secret: of('SECRET_ACCESS_KEY') };
  return { name: 'the embedded server', endpoint: of('ENDPOINT'), keys };
}

function program(cleaner: Cleaner, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  cleaner.add(async () => {
    if (child.exitCode !== null || !child.kill('SIGTERM')) return;
    await once(child, 'exit');
  });
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error('the program has no output');
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error('the program said nothing');
}

/** The most memory that a process has had, in MiB (VmHWM of proc(5)). */
export function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
