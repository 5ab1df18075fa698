import { describe, expect, onTestFinished, test } from 'vitest';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { listAll } from '../../src/ecs/object-store.ts';
import { createS3ObjectStore, type S3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { folderOf } from '../freeze/support.ts';
import { datasetOf } from '../support/datasets.ts';
import { type CommandResult, User } from '../support/mounted.ts';
import { type PolicyBucket, policyBucket } from '../support/policy-bucket.ts';
import { allWritten } from '../support/written.ts';

/** The bucket as a user of it sees it, without the program. */
function storeOf({ bucket, configuration }: PolicyBucket, who: 'alice' | 'bob'): S3ObjectStore {
  const env = configuration(who, '');
  const store = createS3ObjectStore({
    bucket,
    endpoint: env[`DTOOL_ECS_ENDPOINT_${bucket}`] ?? '',
    credentials: async () => ({
      accessKeyId: env[`DTOOL_ECS_ACCESS_KEY_ID_${bucket}`] ?? '',
      secretAccessKey: env[`DTOOL_ECS_SECRET_ACCESS_KEY_${bucket}`] ?? '',
    }),
  });
  onTestFinished(() => store.close());
  return store;
}

/** Puts a dataset as the dtool of a user does. */
async function put(
  made: PolicyBucket,
  who: 'alice' | 'bob',
  spec: Parameters<typeof datasetObjects>[0],
): Promise<void> {
  const store = storeOf(made, who);
  for (const { key, body, metadata } of datasetObjects(spec))
    await store.put(key, body, metadata ? { metadata } : {});
}

/** All keys of the bucket, with what tells one content from another. */
async function contents(made: PolicyBucket): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const { key, size, etag } of listAll(storeOf(made, 'bob'), ''))
    found.set(key, `${size} ${etag}`);
  return found;
}

/** Proto datasets that two versions of dtool have written, so that neither can freeze them. */
async function putStuck(made: PolicyBucket, who: 'alice' | 'bob'): Promise<string> {
  const spec = datasetOf(`stuck-of-${who}`, { 'ü/a': 'a' }, { frozenAt: null, prefix: `u/${who}/` });
  await put(made, who, spec);
  const key = `u/${who}/${spec.uuid}/structure.json`;
  await storeOf(made, who).put(key, Buffer.from(JSON.stringify({ storage_broker_version: '0.5.0' })));
  return spec.uuid;
}

describe('with the access policy that dtool-ecs documents, alice', () => {
  test('reads all with every command, and changes what is hers alone', {
    timeout: 180_000,
  }, async (context) => {
    const made = await policyBucket(context);
    const { bucket, configuration } = made;
    const userAt = async (prefix: string): Promise<User> => {
      const user = await User.create(configuration('alice', prefix));
      onTestFinished(() => user.remove());
      return user;
    };
    const alice = await userAt('u/alice/');
    const elsewhere = await userAt('u/bob/');
    const expectDone = (result: CommandResult): void => {
      expect(result.exitCode, result.stdout + result.stderr).toBe(0);
    };
    const expectRefused = (result: CommandResult, ...texts: readonly RegExp[]): void => {
      const told = result.stdout + result.stderr;
      expect(result.exitCode, told).toBe(1);
      for (const text of texts) expect(told).toMatch(text);
      expect(told).not.toMatch(/\n\s+at /);
    };

    const ofBob = datasetOf('of-bob', { 'a.txt': 'bob', 'b/c.txt': 'c' }, { prefix: 'u/bob/' });
    await put(made, 'bob', ofBob);
    const stuck = { bob: await putStuck(made, 'bob'), alice: await putStuck(made, 'alice') };
    const before = await contents(made);

    // Reading, wherever it is.
    const listed = await alice.run('ls', bucket);
    expectDone(listed);
    expect(listed.stdout).toContain('of-bob');
    for (const command of ['ls', 'verify', 'warm']) expectDone(await alice.run(command, `${bucket}/of-bob`));

    // Freezing elsewhere: refused, and nothing is lost.
    const folder = await folderOf({ 'a.txt': 'alice' });
    const local = await allWritten(folder);
    expectRefused(
      await elsewhere.run('freeze', folder, '--bucket', bucket),
      /EACCES|[Aa]ccess ?[Dd]enied/,
      /u\/bob\//,
    );
    expect((await allWritten(folder)).map(({ path, content }) => [path, content])).toEqual(
      local.map(({ path, content }) => [path, content]),
    );

    // Discarding and mending what is bob's: refused, and nothing changed.
    expectRefused(
      await alice.run('discard', stuck.bob, '--bucket', bucket, '--yes'),
      /[Aa]ccess ?[Dd]enied|EACCES/,
    );
    expectRefused(await alice.run('discard', ofBob.uuid, '--bucket', bucket, '--yes'), /frozen/);
    expectRefused(await alice.run('doctor', bucket, '--fix'), /stuck-of-bob .*[Aa]ccess ?[Dd]enied/);
    const after = await contents(made);
    for (const [key, content] of before)
      if (!key.startsWith(`u/alice/${stuck.alice}/`))
        expect({ key, content: after.get(key) }).toEqual({ key, content });
    expect([...after.keys()].filter((key) => !before.has(key))).toEqual([]);

    // What is hers, --fix has mended; and what she writes is there.
    const mended = await alice.run('doctor', bucket);
    expect(mended.stdout).not.toContain('stuck-of-alice');
    expectRefused(
      await elsewhere.run('doctor', bucket, '--write'),
      /nothing can be written below u\/bob\//,
      /s3:PutObject/,
    );
    expect((await alice.run('doctor', bucket, '--write')).stdout).toContain(
      'can be written and removed below u/alice/',
    );
    expectDone(await alice.run('freeze', folder, '--bucket', bucket, '--name', 'of-alice'));
    expectDone(await alice.run('verify', `${bucket}/of-alice`));
    expectDone(await alice.run('discard', stuck.alice, '--bucket', bucket, '--yes'));
    expect([...(await contents(made)).keys()].filter((key) => key.includes(stuck.alice))).toEqual([]);
  });
});
