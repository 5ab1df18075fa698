import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readRegistry } from '../../src/ecs/dtool/registry.ts';
import { base64, folderOf, onlyDataset, readBack } from '../freeze/support.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { BUCKET, OTHER, OWNER, stage } from '../support/freeze-stage.ts';
import { scaled } from '../support/full.ts';
import { CLI } from '../support/mounted.ts';
import { configurationOf } from '../support/test-bucket.ts';

/** Each kill takes seconds: every so many requests one has its turn. */
const KILL_STEP = scaled({ usual: 3, full: 1 });

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

describe('freeze DIR --bucket B', () => {
  test('makes a dataset, hashing large files in threads; says so in words and in JSON', async () => {
    const { store, user } = await stage();
    const files = {
      'a.txt': 'a',
      'large.bin': randomBytesOf(1, 24 << 20),
      'odd.bin': randomBytesOf(2, (1 << 20) + 1),
    };
    const directory = await folderOf(files);
    const ada = await user();
    const dry = await ada.run('freeze', directory, '--bucket', BUCKET, '--dry-run');
    expect(dry).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^results: 3 items, 25\.0 MiB, would be/),
    });
    expect((await readRegistry(store)).datasets).toEqual([]);
    const done = await ada.run('freeze', directory, '--bucket', BUCKET, '--name', 'other');
    expect(done).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^other: 3 items, .* frozen as ecs:/),
    });
    expect(done.stderr).toMatch(/^Uploading: 100%, 25\.0 MiB of 25\.0 MiB, 3 of 3 items$/m);
    const entry = await onlyDataset(store);
    const found = await readBack(store, entry);
    const digests = (contents: Iterable<readonly [string, string]>): object =>
      Object.fromEntries(
        Array.from(contents, ([name, body]) => [name, createHash('sha1').update(body).digest('hex')]),
      );
    expect(digests(found)).toEqual(
      digests(Object.entries(files).map(([name, body]) => [name, base64(body)] as const)),
    );
    const again = await ada.run('freeze', directory, '--bucket', BUCKET, '--name', 'other', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({
      outcome: 'already-frozen',
      uri: `ecs://${BUCKET}/${entry.uuid}`,
      items: 3,
    });
  });

  test('1,000 small items: at most 1,020 requests', async () => {
    const { server, user } = await stage();
    const files = Array.from(
      { length: 1_000 },
      (_, index) => [`d${index % 9}/item-${index}`, `${index}`] as const,
    );
    const directory = await folderOf(Object.fromEntries(files));
    expect((await (await user()).run('freeze', directory, '--bucket', BUCKET)).exitCode).toBe(0);
    expect(sum(server.requestCounts())).toBeLessThanOrEqual(1_020);
  });

  test('refusals: every reason, exit code 1, nothing uploaded', async () => {
    const { server, user } = await stage();
    const directory = await folderOf({ 'README.yml': '[', 'a\nb': '' });
    await symlink('/etc', join(directory, 'out'));
    const ada = await user();
    const refused = await ada.run('freeze', directory, '--bucket', BUCKET);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr.split('\n')).toEqual([
      expect.stringMatching(/^README\.yml is not YAML/),
      expect.stringMatching(/^a\\u\{a\}b has a line break/),
      expect.stringMatching(/^out is a symbolic link that leaves/),
      expect.stringMatching(/^dtool-ecs-mount: .* can't be frozen for 3 reasons; nothing was uploaded$/),
      '',
    ]);
    const json = await ada.run('freeze', directory, '--bucket', BUCKET, '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ outcome: 'refused', count: 3 });
    expect(json.exitCode).toBe(1);
    expect(server.requestCounts().PutObject).toBeUndefined();
    const nowhere = await ada.run('freeze', directory);
    expect(nowhere).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/is in no staging area; give --bucket <name>, or copy it into staging\//),
    });
  });

  test('killed with SIGKILL at any request: a rerun ends in the same, one, whole dataset', async () => {
    const files = { a: 'aaa', 'b/c': 'ccc', 'd.bin': randomBytesOf(3, 2 << 20), 'README.yml': 'x: 1\n' };
    let kills = 0;
    for (let at = 1; ; at += KILL_STEP) {
      const made = await stage();
      const ada = await made.user();
      const directory = await folderOf(files);
      let requests = 0;
      const rerunPuts: string[] = [];
      const child = ada.start('freeze', directory, '--bucket', BUCKET);
      const ended = once(child, 'exit');
      made.intercept = async ({ operation, key, headers }) => {
        let lost = false;
        if (headers.authorization?.includes(`Credential=${OWNER.accessKeyId}/`)) {
          requests += 1;
          // What arrives after the kill was on its way before it.
          lost = requests > at || (requests === at && at % 2 === 0);
          if (requests === at) child.kill('SIGKILL');
        } else if (operation === 'PutObject' && key.includes('/data/')) rerunPuts.push(key);
        return lost ? { kind: 'reset' } : undefined;
      };
      await ended;
      if (child.signalCode !== 'SIGKILL') {
        expect(child.exitCode).toBe(0);
        break;
      }
      kills += 1;
      const { objects } = await made.store.listPage({ prefix: '' });
      const complete = new Set(objects.map(({ key }) => key));
      const registered = await readRegistry(made.store);
      const begun = [...registered.datasets, ...registered.problems].map(({ uuid }) => uuid);
      const asOther = configurationOf(BUCKET, made.server.endpoint, OTHER);
      const settings = Object.entries(asOther).map(([name, value]) => `${name}=${value}`);
      const rerun = await ada.exec(
        'env',
        ...settings,
        process.execPath,
        CLI,
        'freeze',
        directory,
        '--bucket',
        BUCKET,
      );
      expect(rerun, `killed at request ${at}`).toMatchObject({ exitCode: 0 });
      const entry = await onlyDataset(made.store);
      if (begun.length > 0) expect(begun).toEqual([entry.uuid]);
      expect(entry.admin.type).toBe('dataset');
      expect([...(await readBack(made.store, entry)).keys()].toSorted()).toEqual(['a', 'b/c', 'd.bin']);
      // What was complete is not sent again.
      expect(
        rerunPuts.filter((key) => complete.has(key)),
        `killed at request ${at}`,
      ).toEqual([]);
      const page = await made.store.listPage({ prefix: '' });
      expect(page.objects).toHaveLength(1 + 5 + 3);
      await rm(directory, { recursive: true });
    }
    expect(kills).toBeGreaterThanOrEqual(12 / KILL_STEP);
  }, 300_000);

  test('Ctrl-C stops it, says how to go on, and nothing is lost', async () => {
    const made = await stage();
    const ada = await made.user();
    const directory = await folderOf({ a: 'aaa', b: 'bbb' });
    const child = ada.start('freeze', directory, '--bucket', BUCKET);
    let interrupted = false;
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const closed = once(child, 'close');
    made.intercept = async ({ operation, key }) => {
      if (operation !== 'PutObject' || !key.includes('/data/')) return undefined;
      // A second one would end the process at once.
      if (!interrupted) child.kill('SIGINT');
      interrupted = true;
      return { kind: 'no-answer' };
    };
    await closed;
    expect(child.exitCode).toBe(1);
    expect(stderr).toMatch(/was stopped before its end[^]*The same command again goes on from there/);
    made.intercept = async () => undefined;
    const rerun = await ada.run('freeze', directory, '--bucket', BUCKET, '--json');
    expect(JSON.parse(rerun.stdout)).toMatchObject({ outcome: 'frozen', resumed: true });
    expect((await readBack(made.store, await onlyDataset(made.store))).size).toBe(2);
  });

  test('with the access policy that dtool-ecs documents: below the own prefix and nowhere else', async () => {
    const policy = {
      Statement: [
        {
          Effect: 'Allow' as const,
          Action: ['s3:ListBucket', 's3:GetObject'],
          Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`],
        },
        {
          Effect: 'Allow' as const,
          Action: ['s3:PutObject', 's3:DeleteObject', 's3:PutObjectAcl'],
          Resource: [`arn:aws:s3:::${BUCKET}/dtool-*`, `arn:aws:s3:::${BUCKET}/u/\${aws:username}/*`],
        },
      ],
    };
    const ALICE = { name: 'alice', accessKeyId: 'alice', secretAccessKey: randomUUID(), policy };
    const READER = {
      name: 'reader',
      accessKeyId: 'reader',
      secretAccessKey: randomUUID(),
      policy: { Statement: policy.Statement.slice(0, 1) },
    };
    const { store, user } = await stage(ALICE, READER);
    const directory = await folderOf({ a: 'aaa' });

    const reader = await (await user(READER, 'u/reader/')).run('freeze', directory, '--bucket', BUCKET);
    expect(reader.exitCode).toBe(1);
    expect(reader.stderr).toMatch(
      /EACCES\): freeze-bucket\/dtool-[^]*s3:PutObject on arn:aws:s3:::freeze-bucket\/dtool-/,
    );

    const elsewhere = await (await user(ALICE, 'u/bob')).run('freeze', directory, '--bucket', BUCKET);
    expect(elsewhere.exitCode).toBe(1);
    expect(elsewhere.stderr).toMatch(
      /EACCES\): freeze-bucket\/u\/bob\/[^]*s3:PutObject on arn:aws:s3:::freeze-bucket\/u\/bob\//,
    );
    expect((await store.listPage({ prefix: '' })).objects).toEqual([]);
    expect(await readFile(join(directory, 'a'), 'utf8')).toBe('aaa');

    const own = await (await user(ALICE, 'u/alice')).run('freeze', directory, '--bucket', BUCKET);
    expect(own).toMatchObject({ exitCode: 0 });
    const entry = await onlyDataset(store);
    expect(entry.keyPrefix).toBe(`u/alice/${entry.uuid}/`);
    expect(entry.admin.creatorUsername).toBe('alice');
  });
});
