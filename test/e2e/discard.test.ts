import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { readRegistry } from '../../src/ecs/dtool/registry.ts';
import { folderOf, onlyDataset } from '../freeze/support.ts';
import { BUCKET, stage, type Stage } from '../support/freeze-stage.ts';
import type { User } from '../support/mounted.ts';

/** A freeze that is killed when its first item arrives. */
async function abandoned(made: Stage, ada: User, directory: string): Promise<string> {
  const child = ada.start('freeze', directory, '--bucket', BUCKET);
  const ended = once(child, 'exit');
  made.intercept = async ({ operation, key }) => {
    if (operation !== 'PutObject' || !key.includes('/data/')) return undefined;
    child.kill('SIGKILL');
    return { kind: 'no-answer' };
  };
  await ended;
  made.intercept = async () => undefined;
  return (await onlyDataset(made.store)).uuid;
}

describe('discard UUID', () => {
  test('removes what a killed freeze left; the journal says in which bucket', async () => {
    const made = await stage();
    const ada = await made.user();
    const directory = await folderOf({ a: 'aaa', b: 'bbb' });
    const uuid = await abandoned(made, ada, directory);
    const status = await ada.run('status');
    expect(status.stdout).toMatch(
      /not finished\n {2}freeze-bucket +[0-9a-f-]{36}, of .*results: it was inter/,
    );

    const asking = await ada.run('discard', uuid);
    expect(asking).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(
        /Remove \d objects, .* \(results, by owner\) from .* never frozen.*--yes/,
      ),
    });
    expect((await readRegistry(made.store)).datasets).toHaveLength(1);

    const done = await ada.run('discard', uuid, '--yes', '--json');
    expect(JSON.parse(done.stdout)).toMatchObject({ bucket: BUCKET, uuid });
    expect((await made.store.listPage({ prefix: '' })).objects).toEqual([]);
    expect((await ada.run('status')).stdout).toBe('Nothing is mounted.\n');

    const again = await ada.run('discard', uuid, '--yes');
    expect(again).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/with --bucket/) });
    const gone = await ada.run('discard', `ecs://${BUCKET}/${uuid}`, '--yes');
    expect(gone).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/has no dataset/) });

    const anew = await ada.run('freeze', directory, '--bucket', BUCKET, '--json');
    expect(JSON.parse(anew.stdout)).toMatchObject({ outcome: 'frozen', resumed: false });
  });

  test('never touches what is frozen', async () => {
    const made = await stage();
    const ada = await made.user();
    const frozen = await ada.run('freeze', await folderOf({ a: 'aaa' }), '--bucket', BUCKET, '--json');
    const { uuid } = JSON.parse(frozen.stdout) as { uuid: string };
    const before = (await made.store.listPage({ prefix: '' })).objects;
    const refused = await ada.run('discard', uuid, '--bucket', BUCKET, '--yes');
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/is frozen, and nothing/) });
    expect((await made.store.listPage({ prefix: '' })).objects).toEqual(before);
  });

  test('knows what is neither a staged folder nor a uuid', async () => {
    const ada = await (await stage()).user();
    expect(await ada.run('discard', '/tmp/x', '--yes')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/neither a folder in staging/),
    });
  });
});
