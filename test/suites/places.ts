import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mount, type Mounted } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';
import { runProgram } from './run-program.ts';
import type { Place } from './suite.ts';

/**
 * The two places that a suite runs in: a folder in `staging/` of a real mount, whose area is on the local disk, and a
 * directory beside that area. Root only: the mount lets other users in.
 */
export class Places implements AsyncDisposable {
  readonly local: Place;
  readonly staging: Place;
  readonly #bucket: TestBucket;
  readonly #mounted: Mounted;
  readonly #root: string;

  private constructor(bucket: TestBucket, mounted: Mounted, root: string, diskType: string) {
    this.#bucket = bucket;
    this.#mounted = mounted;
    this.#root = root;
    this.local = { kind: 'local', directory: join(root, 'local'), diskType };
    this.staging = { kind: 'staging', directory: join(mounted.path, 'staging/suites'), diskType };
  }

  /** @param parent directory of the local disk; default: the one for temporary files */
  static async create(parent = tmpdir()): Promise<Places> {
    const root = await mkdtemp(join(parent, 'dtool-ecs-mount-suites-'));
    await chmod(root, 0o755);
    const { output } = await runProgram(['df', '--output=fstype', root], { cwd: root, longestSeconds: 60 });
    const bucket = await createEmbeddedBucket();
    const options = ['--allow-other', '--staging-dir', join(root, 'area')];
    const undo: (() => Promise<void>)[] = [
      async () => rm(root, { recursive: true }),
      async () => bucket.close(),
    ];
    try {
      const mounted = await mount(bucket.env, [bucket.bucket], ...options);
      undo.push(async () => mounted.close());
      const places = new Places(bucket, mounted, root, output.trim().split('\n').at(-1) ?? '');
      await places.clear();
      return places;
    } catch (error) {
      for (const step of undo.toReversed()) await step();
      throw error;
    }
  }

  /** Process of the mount. */
  get pid(): number {
    return this.#mounted.pid;
  }

  /** Makes both directories anew, so that no test sees what an earlier one left. */
  async clear(): Promise<void> {
    for (const { directory } of [this.local, this.staging]) {
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
      await mkdir(directory);
      await chmod(directory, 0o777);
    }
  }

  /** @returns whether the mount answers */
  async isWell(): Promise<boolean> {
    return readdir(this.staging.directory).then(
      () => true,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.staging.directory, { recursive: true, force: true });
    await this.#mounted.close();
    await this.#bucket.close();
    await rm(this.#root, { recursive: true });
  }
}
