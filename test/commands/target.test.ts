import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parseTarget } from '../../src/commands/target.ts';
import { type ControlServer, listenForCommands } from '../../src/control-server.ts';

let runtime: string;
let othersAsked = 0;
const servers: ControlServer[] = [];

async function listen(mountpoint: string, status: () => Promise<unknown>): Promise<void> {
  const server = await listenForCommands(mountpoint);
  servers.push(server);
  await server.serve({ status });
}

beforeAll(async () => {
  runtime = mkdtempSync(join(tmpdir(), 'target-'));
  vi.stubEnv('XDG_RUNTIME_DIR', runtime);
  for (const [mountpoint, bucketDirectories, buckets] of [
    ['/mnt/one', false, ['alpha']],
    ['/mnt/all', true, ['alpha', 'beta']],
    ['/mnt/all/inner', false, ['gamma']],
  ] as const) {
    const status = { mountpoint, bucketDirectories, buckets: buckets.map((bucket) => ({ bucket })) };
    await listen(mountpoint, async () => status);
  }
  const ask = async (): Promise<void> => {
    othersAsked += 1;
  };
  await listen('/other', ask);
});
afterAll(async () => {
  await Promise.all(servers.map(async (server) => server.close()));
  vi.unstubAllEnvs();
  rmSync(runtime, { recursive: true });
});

test.each([
  ['alpha', 'alpha', undefined],
  ['alpha/', 'alpha', undefined],
  ['alpha/name', 'alpha', 'name'],
  ['alpha/name/', 'alpha', 'name'],
  ['s3://alpha', 'alpha', undefined],
  ['s3://alpha/', 'alpha', undefined],
  ['ecs://alpha/uuid', 'alpha', 'uuid'],
  ['ecs://alpha/uuid/', 'alpha', 'uuid'],
  ['/mnt/one', 'alpha', undefined],
  ['/mnt/one/', 'alpha', undefined],
  ['/mnt/one/name/data/x', 'alpha', 'name', 'data/x'],
  ['/mnt/one/.uuid/uuid', 'alpha', 'uuid'],
  ['/mnt/one/.proto/name~12345678/data', 'alpha', 'name~12345678', 'data'],
  ['/mnt/one/../one/name', 'alpha', 'name'],
  ['/mnt/all/beta', 'beta', undefined],
  ['/mnt/all/beta/name', 'beta', 'name'],
  ['/mnt/all/inner/name', 'gamma', 'name'],
])('%s', async (text, bucket, dataset, path?: string) => {
  expect(await parseTarget(text)).toEqual({
    bucket,
    ...(dataset !== undefined && { dataset }),
    ...(path !== undefined && { path }),
  });
});

test('no mount is asked but the one that a path is in', async () => {
  await parseTarget('/mnt/one/name');
  expect(othersAsked).toBe(0);
});

test('a path in no mount, or above the buckets, is refused', async () => {
  await expect(parseTarget('/mnt/oneself')).rejects.toThrow('is in no mount');
  await expect(parseTarget('/mnt/all')).rejects.toThrow('several buckets');
});
