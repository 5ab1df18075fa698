import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { datasetOf } from '../support/datasets.ts';
import { mountObstacle, User } from '../support/mounted.ts';
import { createEmbeddedBucket } from '../support/test-bucket.ts';

/** Another way to a server on this computer. */
async function forwardTo(endpoint: string): Promise<{ readonly endpoint: string; close(): void }> {
  const { hostname, port } = new URL(endpoint);
  const server = createServer((socket) => {
    const onward = connect(Number(port), hostname);
    // Either end may be cut off.
    pipeline(socket, onward, socket).catch(() => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on a port
  const address = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${address.port}`, close: () => server.close() };
}

test.skipIf(mountObstacle !== undefined)(
  'staged folders are there whatever the endpoint is called, and none is out of sight unsaid',
  async () => {
    const bucket = await createEmbeddedBucket({}, 'lab');
    await bucket.putDataset(datasetOf('known', { file: 'text' }));
    const stranger = await createEmbeddedBucket({}, 'lab');
    const direct = String(bucket.env['DTOOL_ECS_ENDPOINT_lab']);
    const balancer = await forwardTo(direct);
    const user = await User.create(bucket.env);
    const path = join(user.home, 'mnt');
    await mkdir(path);
    /** Mounts the bucket under another endpoint; the command and the mount get the same environment otherwise. */
    const at = (endpoint: string): User => user.with({ ...bucket.env, DTOOL_ECS_ENDPOINT_lab: endpoint });
    const staged = async (): Promise<string> => (await user.exec('ls', join(path, 'staging'))).stdout;
    const umounted = async (): Promise<string> => (await user.run('umount', path)).stdout;
    try {
      expect(await user.run('mount', 'lab', path)).toMatchObject({ exitCode: 0, stderr: '' });
      await user.exec('sh', '-c', `mkdir '${path}/staging/new' && echo x > '${path}/staging/new/file'`);
      expect(await umounted()).toContain('Not frozen: lab/staging/new.');

      const spelled = at(direct.replace('127.0.0.1', 'localhost'));
      expect(await spelled.run('mount', 'lab', path)).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await staged()).toBe('new\n');
      await umounted();

      expect(await at(balancer.endpoint).run('mount', 'lab', path)).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
      expect(await staged()).toBe('new\n');
      await umounted();

      const other = user.with(stranger.env);
      const warned = await other.run('mount', 'lab', path);
      expect(warned.stderr).toMatch(/staging\/ does not show 1 folder for .*: new\. .*--take-staging/);
      expect(await staged()).toBe('');
      expect((await user.run('status')).stdout).toMatch(/no mount shows[^]*lab +1 folder for .*: new\./);
      expect((await other.run('doctor')).stdout).toContain('no mount shows what was staged for bucket lab');
      expect(await umounted()).toBe('');
      expect((await user.run('status')).stdout).toMatch(/Nothing is mounted\.[^]*no mount shows[^]*: new\./);

      expect(await other.run('mount', 'lab', path, '--take-staging')).toMatchObject({
        exitCode: 0,
        stderr: '',
      });
      expect(await staged()).toBe('new\n');
      await umounted();

      expect(await spelled.run('mount', 'lab', path)).toMatchObject({ exitCode: 0 });
      expect(await spelled.run('freeze', join(path, 'staging/new'))).toMatchObject({ exitCode: 0 });
      expect((await user.exec('cat', join(path, 'new/data/file'))).stdout).toBe('x\n');
      expect(await umounted()).toBe('');
      expect((await user.run('status')).stdout).toBe('Nothing is mounted.\n');
    } finally {
      await user.unmount(path);
      await user.remove();
      balancer.close();
      await bucket.close();
      await stranger.close();
    }
  },
);
