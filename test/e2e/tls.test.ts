import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { folderOf } from '../freeze/support.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { mount, mountObstacle, User } from '../support/mounted.ts';
import { createEmbeddedBucket, type TestBucket } from '../support/test-bucket.ts';
import { startTlsProxy, type TlsProxy } from '../support/tls-proxy.ts';

const DAY_MS = 86_400_000;
/** Several records of TLS, and several blocks. */
const LARGE = randomBytesOf(1, 3 << 20);
const authority = new CertificateAuthority('An authority of ours');
const good = authority.issue();
const expired = authority.issue({
  validFrom: new Date(Date.now() - 9 * DAY_MS),
  validTo: new Date(Date.now() - DAY_MS),
});
const BAD = [
  {
    what: 'an authority that nobody here knows',
    certificate: new CertificateAuthority('Somebody else').issue(),
    said: ['unable to verify', 'NODE_EXTRA_CA_CERTS'],
  },
  {
    what: 'a certificate of another host',
    certificate: authority.issue({ hosts: ['elsewhere.example'] }),
    said: ['elsewhere.example', 'host name'],
  },
  { what: 'an expired certificate', certificate: expired, said: ['expired', 'date of this computer'] },
  {
    what: 'a certificate of tomorrow',
    certificate: authority.issue({ validFrom: new Date(Date.now() + DAY_MS / 2) }),
    said: ['not yet valid', 'date of this computer'],
  },
] as const;

let directory: string;
let bucket: TestBucket;
let proxy: TlsProxy;
let endpoint: string;
let trusting: Readonly<Record<string, string>>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-tls-'));
  const authorities = join(directory, 'authorities.pem');
  await writeFile(authorities, authority.cert);
  trusting = { NODE_EXTRA_CA_CERTS: authorities };
  bucket = await createEmbeddedBucket();
  await bucket.putDataset(datasetOf('leaves', { 'a.txt': 'green', 'b.bin': LARGE }));
  proxy = await startTlsProxy(bucket.server?.endpoint ?? '', good);
  endpoint = `https://localhost:${proxy.port}`;
});
afterEach(() => proxy.setCertificate(good));
afterAll(async () => {
  await proxy.close();
  await bucket.close();
  await rm(directory, { recursive: true });
});

/** A user whose dtool.json has the bucket with its https endpoint. */
async function userOf(env: Readonly<Record<string, string>>): Promise<User> {
  const user = await User.create(env);
  onTestFinished(() => user.remove());
  await mkdir(join(user.home, '.config/dtool'), { recursive: true });
  const configuration = { ...bucket.env, [`DTOOL_ECS_ENDPOINT_${bucket.bucket}`]: endpoint };
  await writeFile(join(user.home, '.config/dtool/dtool.json'), JSON.stringify(configuration), {
    mode: 0o600,
  });
  return user;
}

/** One command for each way to the store, and one that fails before it looks at anything else. */
async function commands(): Promise<readonly (readonly string[])[]> {
  const folder = await folderOf({ a: 'aaa' });
  return [
    ['ls', `${bucket.bucket}/leaves`],
    ['verify', `${bucket.bucket}/leaves`],
    ['freeze', folder, '--bucket', bucket.bucket, '--name', `frozen-${Date.now()}`],
    ['doctor', bucket.bucket, '--write'],
  ];
}

test('an authority of one’s own is accepted by every command', async () => {
  const user = await userOf(trusting);
  for (const args of await commands()) {
    const { exitCode, stderr, stdout } = await user.run(...args);
    // Of doctor the bucket counts, and not what other tests may have left on this computer.
    const isDone =
      args[0] === 'doctor' ? stdout.includes('objects can be written and removed') : exitCode === 0;
    expect(isDone, `${args.join(' ')}: ${stdout} ${stderr}`).toBe(true);
  }
  expect(proxy.handshakes).toBeGreaterThan(0);
});

for (const { what, certificate, said } of BAD) {
  test(`${what} is refused, at once and with advice`, async () => {
    proxy.setCertificate(certificate);
    const user = await userOf(trusting);
    const all = [['mount', bucket.bucket, directory], ...(await commands())];
    // All of them begin in the same way, so one of these cases is enough to see that.
    for (const args of certificate === expired ? all : all.slice(0, 2)) {
      const before = proxy.connections;
      const { exitCode, stderr, stdout } = await user.run(...args);
      const told = stderr + stdout;
      expect({ args, exitCode, told }).toMatchObject({ exitCode: 1 });
      for (const text of [endpoint, ...said]) expect(told).toContain(text);
      expect({ args, connections: proxy.connections - before }).toEqual({ args, connections: 1 });
    }
  });
}

test('nothing turns that off', async () => {
  proxy.setCertificate(expired);
  const user = await userOf({ ...trusting, NODE_TLS_REJECT_UNAUTHORIZED: '0' });
  const { exitCode, stderr } = await user.run('ls', bucket.bucket);
  // The first request, which is a list; what reads objects is asked of the mount below.
  expect({ exitCode, stderr }).toEqual({
    exitCode: 1,
    stderr: expect.stringMatching(/can't be listed.*expired/),
  });
});

describe.skipIf(mountObstacle !== undefined)('a mount', () => {
  test('refuses a certificate that expires under it, and goes on with the next one', async () => {
    const env = { ...bucket.env, ...trusting, [`DTOOL_ECS_ENDPOINT_${bucket.bucket}`]: endpoint };
    const mounted = await mount(
      { ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      [bucket.bucket],
      '--cache-size',
      'none',
    );
    onTestFinished(() => mounted.close());
    expect(await mounted.sh('cat leaves/data/a.txt')).toBe('green');
    await mounted.sh('mkdir staging/set && echo x > staging/set/f');

    proxy.setCertificate(expired);
    const before = proxy.connections;
    const read = await mounted.user.exec('cat', join(mounted.path, 'leaves/data/b.bin'));
    expect(read).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Input/output error') });
    expect(await mounted.log()).toContain('certificate has expired');
    const frozen = await mounted.user.run('freeze', join(mounted.path, 'staging/set'));
    expect(frozen).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('expired') });
    expect(frozen.stderr).toContain('date of this computer');
    expect(proxy.connections - before).toBeLessThan(20);

    proxy.setCertificate(good);
    const md5 = createHash('md5').update(LARGE).digest('hex');
    expect(await mounted.sh('md5sum < leaves/data/b.bin')).toBe(`${md5}  -\n`);
    expect(await mounted.user.run('freeze', join(mounted.path, 'staging/set'))).toMatchObject({
      exitCode: 0,
    });
    expect(await mounted.sh('cat set/data/f')).toBe('x\n');
  });
});
