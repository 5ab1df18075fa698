import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { policyBucket } from '../support/policy-bucket.ts';

describe.skipIf(mountObstacle !== undefined)('with the access policy that dtool-ecs documents', () => {
  test('alice freezes below her prefix, nowhere else, and reads what bob has frozen', {
    timeout: 180_000,
  }, async (context) => {
    const made = await policyBucket(context);
    const { bucket, configuration } = made;
    const mounted = async (who: 'alice' | 'bob', prefix: string): Promise<Mounted> => {
      const one = await mount(configuration(who, prefix), [bucket], '--refresh', '0.2');
      onTestFinished(() => one.close());
      return one;
    };
    const stage = async (at: Mounted, name: string, text: string): Promise<string> => {
      await at.sh(`mkdir staging/${name} && echo ${text} > staging/${name}/a.txt`);
      return join(at.path, 'staging', name);
    };

    const bob = await mounted('bob', 'u/bob');
    expect(await bob.user.run('freeze', await stage(bob, 'of-bob', 'bob'))).toMatchObject({ exitCode: 0 });

    const elsewhere = await mounted('alice', 'u/bob/');
    const folder = await stage(elsewhere, 'of-alice', 'alice');
    const refused = await elsewhere.user.run('freeze', folder);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/EACCES[^]*s3:PutObject on arn:aws:s3:::[^]*\/u\/bob\//);
    expect(await readFile(join(folder, 'a.txt'), 'utf8')).toBe('alice\n');
    await elsewhere.sh('echo more >> staging/of-alice/a.txt');
    expect(await elsewhere.status()).toMatchObject({
      staging: [{ name: 'of-alice', state: 'failed', reason: expect.stringContaining('EACCES') }],
    });
    await elsewhere.user.run('discard', folder, '--yes');

    const alice = await mounted('alice', 'u/alice/');
    const frozen = await alice.user.run('freeze', await stage(alice, 'of-alice', 'alice'), '--json');
    expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
    expect(await alice.sh('cat of-alice/data/a.txt of-bob/data/a.txt')).toBe('alice\nbob\n');
    const creators = 'grep -h creator_username of-alice/.dtool/dtool of-bob/.dtool/dtool';
    expect(await alice.sh(creators)).toMatch(/alice[^]*bob/);
  });
});
