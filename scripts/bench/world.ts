import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { configurationOf } from '../../test/support/test-bucket.ts';
import { BenchBucket } from './bench-bucket.ts';
import type { Cleaner } from './cleaner.ts';
import { type MountKind, type Mounted, type MountOptions, mountWith } from './mounts.ts';
import { memoryOf, mostOf, type ProcessMemory } from './process-memory.ts';
import { numbersOf, timed } from './programs.ts';
import type { Figure } from './row.ts';
import { CLI, type Server, startDelayProxy, startServer } from './server.ts';

/** What the slow endpoint adds to every request. */
export const DELAY_MS = 20;

/** A server with buckets, reached at once or through a proxy that adds {@link DELAY_MS} to every request. */
export class World {
  readonly directory: string;
  readonly server: Server;
  readonly #slowEndpoint: string;
  readonly #cleaner: Cleaner;
  readonly #prepared = new Map<string, Promise<unknown>>();
  #memory: ProcessMemory | undefined;
  #frozen = 0;

  private constructor(cleaner: Cleaner, directory: string, server: Server, slowEndpoint: string) {
    this.#cleaner = cleaner;
    this.directory = directory;
    this.server = server;
    this.#slowEndpoint = slowEndpoint;
  }

  static async start(cleaner: Cleaner, wanted: Parameters<typeof startServer>[2]): Promise<World> {
    const directory = mkdtempSync(join(tmpdir(), 'dtool-ecs-mount-bench-'));
    cleaner.add(() => rmSync(directory, { recursive: true }));
    const server = await startServer(cleaner, directory, wanted);
    return new World(cleaner, directory, server, await startDelayProxy(cleaner, server, DELAY_MS));
  }

  endpoint(isSlow: boolean): string {
    return isSlow ? this.#slowEndpoint : this.server.endpoint;
  }

  /** Makes something once that several measurements need. */
  async once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const known = this.#prepared.get(name);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a name stands for one thing
    if (known) return known as Promise<T>;
    const made = make();
    this.#prepared.set(name, made);
    return made;
  }

  /** A bucket that is made when it is first asked for, and removed at the end from a store that is not ours. */
  async bucket(name: string): Promise<BenchBucket> {
    return this.once(`bucket ${name}`, async () => {
      const bucket = await BenchBucket.create(this.server, `bench-${process.pid}-${name}`);
      // A server of ours goes with all that it has.
      if (this.server.isExternal) this.#cleaner.add(async () => bucket.remove());
      return bucket;
    });
  }

  /** A directory that is removed at the end. */
  newDirectory(): string {
    return mkdtempSync(join(this.directory, 'd-'));
  }

  /** The environment of programs that work on a bucket. */
  environment({ name }: BenchBucket, isSlow: boolean): NodeJS.ProcessEnv {
    const { id, secret } = this.server.keys;
    const keys = { accessKeyId: id, secretAccessKey: secret };
    return {
      ...process.env,
      ...configurationOf(name, this.endpoint(isSlow), keys),
      AWS_ACCESS_KEY_ID: id,
      AWS_SECRET_ACCESS_KEY: secret,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      HOME: this.directory,
      XDG_RUNTIME_DIR: this.directory,
      XDG_STATE_HOME: join(this.directory, 'state'),
      XDG_CACHE_HOME: join(this.directory, 'cache'),
      DTOOL_CACHE_DIRECTORY: join(this.directory, 'cache'),
      PYTHONWARNINGS: 'ignore',
    };
  }

  /** A mount of a bucket; undefined where the program is not installed. Goes with {@link Mounted.close}. */
  async mount(kind: MountKind, options: MountOptions): Promise<Mounted | undefined> {
    const mounted = await mountWith(kind, this, options);
    if (!mounted) return undefined;
    const close = async (): Promise<void> => {
      if (kind === 'ours') this.#remember(memoryOf(mounted.pid));
      await mounted.close();
    };
    this.#cleaner.add(close);
    return { ...mounted, close };
  }

  /** The most that our programs had since this was last asked, the mounts at their end too; undefined without any. */
  takeMemory(): ProcessMemory | undefined {
    const memory = this.#memory;
    this.#memory = undefined;
    return memory;
  }

  #remember(memory: ProcessMemory): void {
    this.#memory = mostOf(memory, this.#memory);
  }

  /** Runs one of our commands to its end. @returns the seconds that it took */
  async cli(bucket: BenchBucket, isSlow: boolean, ...args: readonly string[]): Promise<Figure> {
    const env = this.environment(bucket, isSlow);
    const { seconds, peakMiB } = await timed({ env }, process.execPath, CLI, ...args);
    this.#remember({ nowMiB: 0, peakMiB });
    return seconds;
  }

  /** Freezes a directory into a bucket, by a new name. @returns the seconds that it took */
  async freeze(bucket: BenchBucket, isSlow: boolean, folder: string): Promise<Figure> {
    this.#frozen += 1;
    return this.cli(
      bucket,
      isSlow,
      'freeze',
      folder,
      '--bucket',
      bucket.name,
      '--name',
      `frozen-${this.#frozen}`,
    );
  }

  /** Runs any program to its end. @returns the seconds that it took */
  async command(
    bucket: BenchBucket,
    { isSlow, longestSeconds }: { readonly isSlow: boolean; readonly longestSeconds?: number },
    ...command: readonly [string, ...string[]]
  ): Promise<Figure> {
    return (await timed({ env: this.environment(bucket, isSlow), longestSeconds }, ...command)).seconds;
  }

  /** Runs a Python program that prints figures; `sys.argv` has the arguments. */
  async python(script: string, ...args: readonly (string | number)[]): Promise<Record<string, number>> {
    return numbersOf(process.env, 'python3', '-c', script, ...args.map(String));
  }

  /** Runs a program of the bench that prints figures: `PROGRAM ENDPOINT BUCKET ARG…`. */
  async node(
    program: string,
    bucket: BenchBucket,
    isSlow: boolean,
    ...args: readonly (string | number)[]
  ): Promise<Record<string, number>> {
    const path = resolve(import.meta.dirname, program);
    const all = [path, this.endpoint(isSlow), bucket.name, ...args.map(String)];
    return numbersOf(this.environment(bucket, isSlow), process.execPath, ...all);
  }
}
