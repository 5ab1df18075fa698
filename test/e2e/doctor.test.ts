import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { identifierOf } from '../../src/ecs/dtool/identifier.ts';
import { checkSystem } from '../../src/commands/doctor/system.ts';
import type { Finding } from '../../src/commands/doctor/finding.ts';
import { datasetOf, uuidOf } from '../support/datasets.ts';
import { User, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, configurationOf, createEmbeddedBucket } from '../support/test-bucket.ts';
import { policyBucket } from '../support/policy-bucket.ts';

const FINDINGS = z.array(
  z.object({
    status: z.enum(['ok', 'warn', 'fail']),
    area: z.string(),
    text: z.string(),
    advice: z.string().optional(),
  }),
);

describe('doctor', () => {
  let bucket: TestBucket;
  let user: User;

  beforeEach(async () => {
    bucket = await createEmbeddedBucket();
    user = await User.create(bucket.env);
  });
  afterEach(async () => {
    await user.remove();
    await bucket.close();
  });

  const findings = async (who: User, ...args: readonly string[]): Promise<readonly Finding[]> => {
    const { stdout, stderr, exitCode } = await who.run('doctor', '--json', ...args);
    const found = FINDINGS.parse(JSON.parse(stdout));
    const failed = found.some(({ status }) => status === 'fail');
    expect({ stderr, exitCode }).toMatchObject({ exitCode: failed ? 1 : 0 });
    return found;
  };
  const about = (found: readonly Finding[], area: string): string[] =>
    found.filter((one) => one.area === area).map(({ status, text }) => `${status}: ${text}`);

  test.skipIf(mountObstacle !== undefined)('all is well', async () => {
    await bucket.putDataset(datasetOf('good', { a: 'a' }));
    await bucket.putDataset(datasetOf('open', { a: 'a' }, { frozenAt: null }));
    const { stdout } = await user.run('doctor');
    expect(stdout).toContain('\nbucket test-bucket\n');
    expect(stdout).toContain('ok    1 frozen datasets can be read, and 1 are not frozen');
    // Mounts that other tests of this user have killed may be left behind.
    expect(stdout.slice(0, stdout.indexOf('left behind'))).not.toMatch(/^ {2}fail/m);
    expect(bucket.server?.requestCounts()).not.toHaveProperty('PutObject');
  });

  test('wrong usage ends with 2, a bucket that is not configured with 1', async () => {
    expect((await user.run('doctor', '--nonsense')).exitCode).toBe(2);
    expect(about(await findings(user, 'other'), 'bucket other')[0]).toContain('DTOOL_ECS_ENDPOINT_other');
  });

  test('a configuration that is missing, broken, or for everybody to read', async () => {
    const bare = await User.create();
    expect(about(await findings(bare), 'configuration')).toContainEqual(
      expect.stringContaining('fail: no bucket is configured'),
    );
    const file = join(bare.home, '.config/dtool/dtool.json');
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, '{"a": "secret-text"', { mode: 0o600 });
    const broken = await findings(bare);
    expect(about(broken, 'configuration')[0]).toMatch(/^fail: .*is not JSON/);
    expect(JSON.stringify(broken)).not.toContain('secret-text');
    await writeFile(file, JSON.stringify(bucket.env), { mode: 0o600 });
    await bare.exec('chmod', '0640', file);
    const open = await findings(bare);
    expect(about(open, 'configuration')[0]).toContain('warn: others may read');
    expect(about(open, 'bucket test-bucket')).toContain(
      'ok: the keys are accepted, and the bucket can be listed',
    );
    await bare.remove();
  });

  test('an endpoint that does not answer, keys that are wrong, a clock that is off', async () => {
    const area = `bucket ${bucket.bucket}`;
    const away = await User.create(
      configurationOf(bucket.bucket, 'http://127.0.0.1:1', { accessKeyId: 'a', secretAccessKey: 'b' }),
    );
    expect(about(await findings(away), area)).toEqual([
      expect.stringMatching(/^fail: http:\/\/127.0.0.1:1 does not answer/),
    ]);
    await away.remove();
    const endpoint = bucket.env[`DTOOL_ECS_ENDPOINT_${bucket.bucket}`] ?? '';
    const wrong = await User.create(
      configurationOf(bucket.bucket, endpoint, { accessKeyId: 'tester', secretAccessKey: 'wrong-one' }),
    );
    const found = await findings(wrong);
    expect(found.find(({ status }) => status === 'fail')?.advice).toContain('DTOOL_ECS_SECRET_ACCESS_KEY');
    expect(JSON.stringify(found)).not.toContain('wrong-one');
    await wrong.remove();
    for (const [seconds, expected] of [
      [-300, /^warn: the clock of this computer is (299|30\d) s ahead of the store's/],
      [4000, /^fail: the clock of this computer is (4000|399\d) s behind the store's/],
    ] as const) {
      const skewed = createHttpServer((_, answer) => {
        answer.setHeader('Date', new Date(Date.now() + seconds * 1000).toUTCString());
        answer.writeHead(403).end();
      }).listen(0, '127.0.0.1');
      await once(skewed, 'listening');
      const { port } = z.object({ port: z.number() }).parse(skewed.address());
      const keys = { accessKeyId: 'a', secretAccessKey: 'b' };
      const late = await User.create(configurationOf(bucket.bucket, `http://127.0.0.1:${port}`, keys));
      expect(about(await findings(late), area)).toContainEqual(expect.stringMatching(expected));
      await late.remove();
      skewed.close();
    }
  });

  test('plain http to another computer is warned about', async () => {
    const far = await User.create(
      configurationOf(bucket.bucket, 'http://dtool-ecs-mount.invalid', {
        accessKeyId: 'a',
        secretAccessKey: 'b',
      }),
    );
    expect(about(await findings(far), `bucket ${bucket.bucket}`)).toEqual([
      expect.stringMatching(/^warn: .*plain http/),
      expect.stringMatching(/^fail: .*does not answer/),
    ]);
    await far.remove();
  });

  test('what may be written is tried only when asked, and leaves nothing', async (context) => {
    const policy = await policyBucket(context);
    const area = `bucket ${policy.bucket}`;
    for (const [prefix, expected] of [
      ['u/alice', 'ok: objects can be written and removed below u/alice/'],
      ['u/bob/', 'fail: nothing can be written below u/bob/'],
      ['', 'fail: nothing can be written at the top of the bucket'],
    ] as const) {
      const alice = await User.create(policy.configuration('alice', prefix));
      expect(about(await findings(alice), area).join('\n')).not.toContain('written');
      expect(about(await findings(alice, '--write'), area).join('\n')).toContain(expected);
      expect(about(await findings(alice), area)).toContain(
        'ok: 0 frozen datasets can be read, and 0 are not frozen',
      );
      await alice.remove();
    }
  });

  test('broken datasets are named, their names made harmless', async () => {
    await bucket.putDataset(datasetOf('broken', {}));
    await bucket.put(`${uuidOf('broken')}/manifest.json`, '{"items": "\u001b[2J"}');
    await bucket.put('dtool-\u001b[31mjunk', '');
    const { stdout } = await user.run('doctor');
    expect(stdout).toContain(`${uuidOf('broken')}/manifest.json`);
    expect(stdout).toContain('\\u{1b}[31mjunk');
    expect(stdout).not.toContain('\u001b');
  });

  test('a proto dataset that dtool can’t freeze is named, and mended when that is asked for', async () => {
    await bucket.putDataset(datasetOf('stuck', { 'ü/a': 'a' }, { frozenAt: null }));
    const key = `${uuidOf('stuck')}/structure.json`;
    await bucket.put(key, JSON.stringify({ storage_broker_version: '0.5.0', other: 1 }));
    const area = `bucket ${bucket.bucket}`;
    expect(about(await findings(user), area).at(-1)).toMatch(/^fail: stuck .*--fix/);
    expect(about(await findings(user, '--fix'), area).at(-1)).toMatch(/^ok: stuck .*again$/);
    expect(about(await findings(user), area).at(-1)).toBe(
      'ok: 0 frozen datasets can be read, and 1 are not frozen',
    );
    await bucket.put(`${uuidOf('stuck')}/data/${identifierOf('plain')}`, 'x', {
      metadata: { handle: 'plain' },
    });
    await bucket.put(key, JSON.stringify({ storage_broker_version: '0.5.0' }));
    expect(about(await findings(user, '--fix'), area).at(-1)).toMatch(/^fail: stuck .*1 of its 2 items/);
  });

  test('dead sockets and freezes that were not finished', async () => {
    const sockets = join(user.home, 'dtool-ecs-mount');
    await mkdir(sockets, { mode: 0o700 });
    // A socket whose process was killed stays where it is.
    const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
    await promisify(execFile)(process.execPath, ['-e', script, join(sockets, 'dead.sock')]).catch(() => {});
    const alive = createServer().listen(join(sockets, 'silent.notasocket'));
    await once(alive, 'listening');
    const journals = join(user.home, 'state/dtool-ecs-mount/freeze');
    await mkdir(journals, { recursive: true });
    const journal = {
      version: 1,
      state: 'uploading',
      directory: '/data/results',
      endpoint: 'http://x',
      bucket: 'lab',
      uuid: uuidOf('unfinished'),
      createdAt: 0,
    };
    await writeFile(join(journals, 'a.json'), JSON.stringify(journal));
    await writeFile(join(journals, 'b.json'), 'damaged');
    const found = about(await findings(user), 'left behind').join('\n');
    expect(found).toContain(join(sockets, 'dead.sock'));
    expect(found).toContain('a freeze of /data/results into lab was not finished');
    expect(found).toContain('b.json');
    expect(about(await findings(user), 'left behind').join('\n')).not.toContain('dead.sock');
    alive.close();
  });

  test.skipIf(mountObstacle !== undefined)('a mount whose process was killed', async () => {
    const mountpoint = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    const mounted = await user.run('mount', bucket.bucket, mountpoint);
    const pid = Number(/pid (\d+)/.exec(mounted.stdout)?.[1]);
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ' Z ')).toContain(' Z ');
    const found = about(await findings(user), 'left behind').join('\n');
    expect(found).toContain(`fail: the process of the mount at ${mountpoint} has died`);
    expect((await user.run('umount', mountpoint)).exitCode).toBe(0);
    expect(about(await findings(user), 'left behind').join('\n')).not.toContain(mountpoint);
    await rmdir(mountpoint);
    await rm(mountpoint, { recursive: true, force: true });
  });

  test('a Node.js that is too old', async () => {
    const all: Finding[] = [];
    for await (const finding of checkSystem('20.18.3', false)) all.push(finding);
    expect(all[0]).toMatchObject({ status: 'fail', text: 'Node.js 20.18.3 is too old' });
    expect(all.at(-1)?.text).toMatch(/allow.other/);
  });
});
