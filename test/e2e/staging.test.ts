import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

/** Runs a shell command in a mount and returns what it wrote to both, whatever its end. */
const outcome = async ({ user, path }: Mounted, command: string): Promise<string> => {
  const { stdout, stderr } = await user.exec('bash', '-c', `cd '${path}' && ${command}`);
  return stdout + stderr;
};

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)('staging/ over %s', (transport) => {
  let bucket: TestBucket;
  let mounted: Mounted;
  let source: string;

  beforeAll(async () => {
    source = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-source-'));
    await mkdir(join(source, 'results/deep'), { recursive: true });
    await writeFile(join(source, 'results/README.yml'), 'description: staged\n');
    await writeFile(join(source, 'results/deep/naïve file (1).bin'), randomBytes(3_000_000));
    bucket = await createTestBucket();
    mounted = await mount(bucket.env, [bucket.bucket], '--transport', transport);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
    await rm(source, { recursive: true });
  });

  test('takes a copy, which a rename onto the root makes a dataset', async () => {
    await mounted.sh(`cp -r '${source}/results' staging/`);
    expect(await mounted.sh(`diff -r '${source}/results' staging/results && ls staging`)).toBe('results\n');
    expect((await mounted.status()).staging).toMatchObject([{ name: 'results', state: 'open' }]);
    await mounted.sh('mv staging/results .');
    expect(await mounted.sh('ls; ls staging')).toBe('results\nstaging\n');
    expect(
      await mounted.sh(`diff -r '${source}/results/deep' results/data/deep && cat results/README.yml`),
    ).toBe('description: staged\n');
    await mounted.sh(`cp -r '${source}/results' staging/`);
    expect(await outcome(mounted, 'mv staging/results .')).toMatch(/File exists|Directory not empty/);
    await mounted.sh('mv staging/results renamed');
    expect(await mounted.sh('ls; cat renamed/README.yml; ls staging')).toBe(
      'renamed\nresults\nstaging\ndescription: staged\n',
    );
  });

  test('holds folders and nothing else', async () => {
    for (const command of [
      'touch staging/file',
      'ln -s x staging/link',
      `cp '${source}/results/README.yml' staging/`,
    ]) {
      expect(await outcome(mounted, command)).toContain('Operation not permitted');
    }
    await mounted.sh('mkdir staging/a staging/b && echo x > staging/a/x && ln staging/a/x staging/a/y');
    expect(await outcome(mounted, 'mv staging/a/x staging/x')).toContain('Operation not permitted');
    expect(await outcome(mounted, 'ln staging/a/x staging/b/x')).toContain('Invalid cross-device link');
    expect(await outcome(mounted, 'touch new; mkdir new')).toMatch(/Read-only file system[^]*Read-only/);
    await mounted.sh(
      'mkdir staging/a/sub && mv staging/a/sub staging/c && rmdir staging/c && mv staging/b staging/a/',
    );
    await mounted.sh('mv staging/a staging/z');
    expect(await mounted.sh('ls staging staging/z')).toBe('staging:\nz\n\nstaging/z:\nb\nx\ny\n');
    await mounted.sh('rm -r staging/z');
    expect(await mounted.sh('ls staging')).toBe('');
  });
});
