import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { type CommandResult, hasProgram, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import type { CompiledProgram } from '../support/run-typescript.ts';
import { createTestBucket, type TestBucket } from '../support/test-bucket.ts';
import { compileTransportProgram, TransportMount } from '../support/transport-mount.ts';

const run = promisify(execFile);
const asRoot = process.getuid?.() === 0;
const hasPython = await hasProgram('python3');
if (!asRoot || !hasPython)
  process.stderr.write(
    'SKIPPED: a mapping on a full disk, because it needs root (mount -t tmpfs) and python3.\n',
  );

/** A bucket, and mounts of it whose staging area is where the test says. */
class Stage {
  readonly bucket: TestBucket;
  readonly #mounts: Mounted[] = [];

  constructor(bucket: TestBucket) {
    this.bucket = bucket;
  }

  async mount(directory: string, ...options: readonly string[]): Promise<Mounted> {
    const mounted = await mount(
      this.bucket.env,
      [this.bucket.bucket],
      '--staging-dir',
      directory,
      ...options,
    );
    this.#mounts.push(mounted);
    return mounted;
  }

  async close(): Promise<void> {
    for (const mounted of this.#mounts.splice(0)) await mounted.close();
    await this.bucket.close();
  }
}

const outcome = async ({ user, path }: Mounted, command: string): Promise<CommandResult> =>
  user.exec('bash', '-c', `cd '${path}/staging' && ${command}`);
const freeze = async ({ user, path }: Mounted, folder: string): Promise<CommandResult> =>
  user.run('freeze', join(path, 'staging', folder));

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)(
  'staging over %s on a file system that fails on close(2)',
  (transport) => {
    let program: CompiledProgram;
    let disk: TransportMount;
    let stage: Stage;
    let area: string;

    beforeAll(async () => {
      program = await compileTransportProgram();
    });
    afterAll(async () => program?.remove());
    beforeEach(async () => {
      disk = await TransportMount.start(program.path, {
        transport: 'kernel',
        receive: 'auto',
        tree: 'memory',
      });
      area = join(disk.path, 'staging');
      await mkdir(area, 0o700);
      stage = new Stage(await createTestBucket());
    });
    afterEach(async () => {
      await disk.failClose();
      await stage.close();
      await disk.stop();
    });

    test('tells every program that closes, and freezes no file that lost bytes, whatever its name by then', async () => {
      const mounted = await stage.mount(area, '--transport', transport);
      await mounted.sh(
        'mkdir -p staging/x/deep && echo description: x > staging/x/README.yml && echo a > staging/x/a',
      );
      await disk.failClose('EDQUOT');
      for (const command of ['cp /etc/passwd x/deep/copy', 'dd if=/etc/passwd of=x/b']) {
        expect((await outcome(mounted, command)).stderr, command).toContain('Disk quota exceeded');
      }
      // A shell ignores what close(2) says.
      expect(await outcome(mounted, 'echo more >> x/README.yml')).toMatchObject({ exitCode: 0, stderr: '' });
      await disk.failClose();
      await mounted.sh('mv staging/x/deep/copy staging/x/moved && mv staging/x staging/y');
      const refused = await freeze(mounted, 'y');
      expect(refused.exitCode).toBe(1);
      for (const name of ['moved', 'b', 'README.yml'])
        expect(refused.stderr).toMatch(new RegExp(`${name}.* not written as it should be \\(EDQUOT\\)`));
      expect(refused.stderr).toContain('3 reasons');
      expect((await outcome(mounted, 'mv y ..')).stderr).toContain('Operation not permitted');
      await mounted.sh(
        'cd staging/y && cp /etc/passwd moved && rm b && echo again > b && mv a README.yml && ls',
      );
      expect(await freeze(mounted, 'y')).toMatchObject({ exitCode: 0 });
      expect(await mounted.sh('cmp /etc/passwd y/data/moved && cat y/data/b')).toBe('again\n');
    });

    test('fsync(2) of what is open for reading alone reaches the disk', async () => {
      const mounted = await stage.mount(area, '--transport', transport);
      await mounted.sh('mkdir staging/x');
      const synced = async (path: string): Promise<number> => {
        const before = await disk.state();
        await mounted.sh(`sync ${path} && sync --data ${path}`);
        return (await disk.state()).syncs - before.syncs;
      };
      await mounted.sh('echo text > staging/x/file');
      expect(await synced('staging/x/file')).toBe(2);
      expect(await synced('staging/x')).toBe(2);
      expect(await synced('staging')).toBe(2);
    });

    test('knows after a crash which files lost bytes', async () => {
      const killed = await stage.mount(area, '--transport', transport);
      await killed.sh('mkdir staging/x && echo kept > staging/x/kept');
      await disk.failClose('ENOSPC');
      expect((await outcome(killed, 'cp /etc/passwd x/lost')).stderr).toContain('No space left on device');
      await disk.failClose();
      process.kill(killed.pid, 'SIGKILL');
      const mounted = await stage.mount(area, '--transport', transport);
      expect((await freeze(mounted, 'x')).stderr).toMatch(
        /lost was not written as it should be \(ENOSPC\)[^]*one reason/,
      );
      await mounted.sh('rm staging/x/lost && echo new > staging/x/new');
      expect(await freeze(mounted, 'x')).toMatchObject({ exitCode: 0 });
      expect(await mounted.sh('ls x/data')).toBe('kept\nnew\n');
    });
  },
);

const MAPPING = `
import mmap, os
f = os.open('staging/x/mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 8 << 20)
m = mmap.mmap(f, 8 << 20)
m[:] = b'a' * (8 << 20)
try:
    os.close(f)
except OSError as error:
    print(error.strerror)
`;

describe.skipIf(mountObstacle !== undefined || !asRoot || !hasPython)('staging on a full disk', () => {
  test('freezes no file of which a mapping could not be written', async () => {
    const area = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4M', 'full', area]);
    const stage = new Stage(await createTestBucket());
    try {
      const mounted = await stage.mount(area);
      await mounted.sh('mkdir staging/x && echo kept > staging/x/kept');
      expect(await mounted.sh(`python3 -c "${MAPPING}"`)).toBe('No space left on device\n');
      expect((await freeze(mounted, 'x')).stderr).toMatch(
        /mapped was not written as it should be \(ENOSPC\)/,
      );
      await mounted.sh('rm staging/x/mapped');
      expect(await freeze(mounted, 'x')).toMatchObject({ exitCode: 0 });
    } finally {
      await stage.close();
      await run('umount', ['-l', area]);
      await rm(area, { recursive: true });
    }
  });
});
