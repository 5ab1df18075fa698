import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { systemClock } from '../../src/clock.ts';
import { datasetOf, randomBytesOf, uuidOf } from '../support/datasets.ts';
import {
  type CommandResult,
  type Mounted,
  User,
  hasProgram,
  mount,
  mountObstacle,
} from '../support/mounted.ts';
import {
  type TestBucket,
  configurationOf,
  createEmbeddedBucket,
  createTestBucket,
} from '../support/test-bucket.ts';

const isRoot = process.getuid?.() === 0;
const canUnshare = isRoot && (await hasProgram('unshare'));

describe('a mount that can’t be', () => {
  let bucket: TestBucket;
  let user: User;
  let mountpoint: string;

  beforeAll(async () => {
    bucket = await createEmbeddedBucket();
  });
  afterAll(async () => {
    await bucket.close();
  });
  beforeEach(async () => {
    user = await User.create(bucket.env);
    mountpoint = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
  });
  afterEach(async () => {
    const { stdout } = await user.exec('cat', '/proc/self/mountinfo');
    expect(stdout).not.toContain(mountpoint);
    await rm(mountpoint, { recursive: true });
    await user.remove();
  });

  const expectRefusal = (result: CommandResult, ...texts: readonly string[]): void => {
    for (const text of texts) expect(result.stderr).toContain(text);
    // One line for what is wrong, and one for what to do.
    expect(result.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
    expect(result.exitCode).toBe(1);
  };

  test('a bucket that is not configured', async () => {
    const result = await user.run('mount', 'unknown-bucket', mountpoint);
    expectRefusal(
      result,
      'unknown-bucket',
      'DTOOL_ECS_ENDPOINT_unknown-bucket',
      'the environment',
      'dtool.json',
    );
  });

  test('a bucket that the store does not have', async () => {
    const other = await User.create(withBucket(bucket, 'no-such-bucket'));
    expectRefusal(
      await other.run('mount', 'no-such-bucket', mountpoint),
      'no-such-bucket',
      'Check the spelling',
    );
    await other.remove();
  });

  test('a wrong secret key, and an unknown access key', async () => {
    const endpoint = endpointOf(bucket);
    const secret = await User.create(
      configurationOf(bucket.bucket, endpoint, {
        accessKeyId: 'tester',
        secretAccessKey: 'wrong-and-secret',
      }),
    );
    const wrong = await secret.run('mount', bucket.bucket, mountpoint);
    expectRefusal(wrong, bucket.bucket, `DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`);
    expect(wrong.stderr).not.toContain('wrong-and-secret');
    await secret.remove();
    const access = await User.create(
      configurationOf(bucket.bucket, endpoint, {
        accessKeyId: 'nobody',
        secretAccessKey: 'wrong-and-secret',
      }),
    );
    const unknown = await access.run('mount', bucket.bucket, mountpoint);
    expectRefusal(unknown, bucket.bucket, `DTOOL_ECS_ACCESS_KEY_ID_${bucket.bucket}`);
    await access.remove();
  });

  test('an endpoint where nobody listens', async () => {
    const nobody = await User.create(
      configurationOf(bucket.bucket, 'http://127.0.0.1:1', { accessKeyId: 'a', secretAccessKey: 'b' }),
    );
    expectRefusal(
      await nobody.run('mount', bucket.bucket, mountpoint),
      bucket.bucket,
      'http://127.0.0.1:1',
      `DTOOL_ECS_ENDPOINT_${bucket.bucket}`,
    );
    await nobody.remove();
  });

  test('a clock that is wrong is no error: the store says which one it has', async () => {
    const ahead = await createEmbeddedBucket({
      clock: { ...systemClock, now: () => Date.now() + 3_600_000 },
    });
    const late = await User.create(ahead.env);
    expect(await late.run('ls', ahead.bucket)).toMatchObject({ exitCode: 0, stderr: '' });
    await late.remove();
    await ahead.close();
  });

  test('a mountpoint that is missing, a file, or not empty', async () => {
    const missing = join(mountpoint, 'missing');
    expectRefusal(await user.run('mount', bucket.bucket, missing), missing, 'mkdir -p');
    await writeFile(join(mountpoint, 'file'), '');
    expectRefusal(await user.run('mount', bucket.bucket, join(mountpoint, 'file')), 'not a directory');
    expectRefusal(await user.run('mount', bucket.bucket, mountpoint), mountpoint, '--allow-non-empty');
  });

  test.skipIf(!isRoot)('a mountpoint that something else is mounted on', async () => {
    await user.exec('mount', '-t', 'tmpfs', 'tmpfs', mountpoint);
    try {
      expectRefusal(await user.run('mount', bucket.bucket, mountpoint), mountpoint, 'tmpfs');
      const refused = await user.run('umount', mountpoint);
      expectRefusal(refused, mountpoint, 'not a mount of ours');
    } finally {
      await user.exec('umount', mountpoint);
    }
  });

  test.skipIf(!canUnshare)('a system without /dev/fuse', async () => {
    const { exitCode, stderr } = await user.exec(
      'unshare',
      ...['-m', 'bash', '-c', 'mount -t tmpfs tmpfs /dev && mknod /dev/null c 1 3 && exec "$@"', 'bash'],
      ...[
        process.execPath,
        join(import.meta.dirname, '../../dist/cli.js'),
        'mount',
        bucket.bucket,
        mountpoint,
      ],
    );
    expectRefusal({ stdout: '', stderr, exitCode }, '/dev/fuse is missing', 'modprobe fuse');
  });

  test('wrong usage ends with 2', async () => {
    const calls = [
      ['mount'],
      ['mount', 'only-one'],
      ['nonsense', '--what'],
      ['mount', '--all', 'a', 'b'],
      ['umount'],
    ];
    for (const call of calls) {
      const result = await user.run(...call);
      expect({ call, exitCode: result.exitCode }).toEqual({ call, exitCode: 2 });
    }
    expect((await user.run('mount', 'b', mountpoint, '--cache-memory', 'much')).exitCode).toBe(2);
    expect((await user.run('--help')).exitCode).toBe(0);
  });

  test('umount of what is no mount', async () => {
    expectRefusal(await user.run('umount', mountpoint), mountpoint, 'nothing is mounted');
  });
});

describe.skipIf(mountObstacle !== undefined)('what is broken in a bucket', () => {
  let bucket: TestBucket;
  let mounted: Mounted;

  beforeAll(async () => {
    bucket = await createTestBucket();
    await bucket.putDataset(datasetOf('good', { 'file.txt': 'good' }));
    const broken: Record<string, string> = {
      'not-json': '{"items": {',
      'wrong-types': '{"items": [1, 2], "hash_function": 7}',
      'no-size': `{"items": {"${'0'.repeat(40)}": {"relpath": "x", "hash": "", "utc_timestamp": 0}}}`,
      'negative-size': `{"items": {"${'0'.repeat(40)}": {"relpath": "x", "hash": "", "utc_timestamp": 0, "size_in_bytes": -1}}}`,
      'huge-size': `{"items": {"${'0'.repeat(40)}": {"relpath": "x", "hash": "", "utc_timestamp": 0, "size_in_bytes": 1e300}}}`,
    };
    for (const [name, manifest] of Object.entries(broken)) {
      await bucket.putDataset(datasetOf(name, {}));
      await bucket.put(`${uuidOf(name)}/manifest.json`, manifest);
    }
    await bucket.putDataset(datasetOf('no-manifest', {}));
    await bucket.delete(`${uuidOf('no-manifest')}/manifest.json`);
    await bucket.putDataset(datasetOf('bad-admin', {}));
    await bucket.put(`${uuidOf('bad-admin')}/dtool`, 'no JSON and no headers');
    await bucket.put(`dtool-${uuidOf('nothing there')}`, '');
    await bucket.put('dtool-junk', '');
    await bucket.putDataset(datasetOf('../escape', { 'file.txt': 'odd name' }, { uuid: uuidOf('odd name') }));
    await bucket.putDataset(
      datasetOf('altered', {
        'missing.bin': randomBytesOf(1, 300_000),
        'shorter.bin': randomBytesOf(2, 300_000),
        'longer.bin': randomBytesOf(3, 300_000),
        'replaced.txt': 'as it was',
        'intact.txt': 'intact',
      }),
    );
    const keyOf = (relpath: string): string => `${uuidOf('altered')}/data/${identifierOf(relpath)}`;
    await bucket.delete(keyOf('missing.bin'));
    await bucket.put(keyOf('shorter.bin'), randomBytesOf(2, 299_000));
    await bucket.put(keyOf('longer.bin'), randomBytesOf(3, 301_000));
    await bucket.put(keyOf('replaced.txt'), 'as it is!');
    mounted = await mount(bucket.env, [bucket.bucket]);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
  });

  const fails = async (command: string): Promise<string> => {
    const { exitCode, stderr } = await mounted.user.exec(
      'bash',
      '-c',
      `cd ${mounted.path} && LC_ALL=C ${command}`,
    );
    expect(exitCode).not.toBe(0);
    return stderr;
  };

  test('is left out once it is known, counted in status, and hides nothing else', async () => {
    expect(await mounted.sh('cat good/data/file.txt')).toBe('good');
    const manifests = ['not-json', 'wrong-types', 'no-size', 'negative-size', 'huge-size', 'no-manifest'];
    for (const name of manifests)
      expect(await fails(`ls ${name}/data`), name).toContain('Input/output error');
    const names = (await mounted.sh('ls')).trimEnd().split('\n');
    expect(names.toSorted()).toEqual(
      ['altered', 'good', 'staging', `_._escape~${uuidOf('odd name').slice(0, 8)}`].toSorted(),
    );
    const { problems } = await mounted.status();
    const keys = problems.map(({ key }) => key);
    for (const name of manifests) expect(keys).toContain(`${uuidOf(name)}/manifest.json`);
    expect(keys).toContain(`${uuidOf('bad-admin')}/dtool`);
    expect(keys).toContain(`${uuidOf('nothing there')}/dtool`);
    expect(keys).toContain('dtool-junk');
    const human = await mounted.user.run('status');
    expect(human.stdout).toMatch(new RegExp(`problems +${problems.length}\n`));
  });

  test('ls tells of it on standard error and lists the others', async () => {
    const { stdout, stderr, exitCode } = await mounted.user.run('ls', bucket.bucket);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('good');
    expect(stdout).not.toContain('not-json');
    expect(stderr).toContain(`${uuidOf('not-json')}/manifest.json`);
  });

  test('an object that is missing or another than the manifest says: EIO, and the key in the log', async () => {
    for (const file of ['missing.bin', 'shorter.bin', 'longer.bin', 'replaced.txt']) {
      const stderr = await fails(`cat altered/data/${file} > /dev/null`);
      expect(stderr, file).toContain('Input/output error');
      expect(stderr, file).not.toContain('No such file');
      const key = `${uuidOf('altered')}/data/${identifierOf(file)}`;
      const warnings = (await mounted.log()).split('\n').filter((line) => line.includes('"level":40'));
      expect(warnings.filter((line) => line.includes(key)).length, file).toBe(1);
    }
    expect(await mounted.sh('cat altered/data/intact.txt')).toBe('intact');
    expect((await mounted.status()).problems.map(({ reason }) => reason)).toContainEqual(
      expect.stringContaining('has 299000 bytes'),
    );
  });
});

describe('secrets', () => {
  test('stay out of logs, errors and the process list', async () => {
    const bucket = await createEmbeddedBucket();
    const secret = bucket.env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket.bucket}`] ?? 'none';
    await bucket.putDataset(datasetOf('good', { 'file.txt': 'good' }));
    if (mountObstacle === undefined) {
      const mounted = await mount(bucket.env, [bucket.bucket], '--log-level', 'trace');
      await mounted.sh('cat good/data/file.txt');
      expect(await mounted.log()).not.toContain(secret);
      expect((await mounted.user.exec('ps', '-ww', '-eo', 'args')).stdout).not.toContain(secret);
      expect(JSON.stringify(await mounted.status())).not.toContain(secret);
      await mounted.close();
    }
    await bucket.close();
  });
});

function withBucket(bucket: TestBucket, name: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(bucket.env).map(([key, value]) => [key.replace(/_test-bucket$/, `_${name}`), value]),
  );
}

function endpointOf(bucket: TestBucket): string {
  return bucket.env[`DTOOL_ECS_ENDPOINT_${bucket.bucket}`] ?? '';
}
