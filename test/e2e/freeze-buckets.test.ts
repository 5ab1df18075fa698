import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { mountObstacle, User } from '../support/mounted.ts';
import { configurationOf } from '../support/test-bucket.ts';

describe.skipIf(mountObstacle !== undefined)('freeze in a mount of several buckets', () => {
  for (const transport of TRANSPORT_NAMES) {
    test(`each has a staging area of its own, through ${transport}`, async () => {
      const keys = { name: 'both', accessKeyId: 'both', secretAccessKey: 'secret' };
      const server = await startS3Server({ users: [keys], buckets: ['first-lab', 'second-lab'] });
      const user = await User.create({
        ...configurationOf('first-lab', server.endpoint, keys),
        ...configurationOf('second-lab', server.endpoint, keys),
      });
      const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
      onTestFinished(async () => {
        await user.run('umount', path);
        await rmdir(path);
        await user.remove();
        await server.close();
      });
      const mounted = await user.run('mount', 'first-lab', 'second-lab', path, '--transport', transport);
      expect(mounted, mounted.stderr).toMatchObject({ exitCode: 0 });
      const sh = (command: string): ReturnType<User['exec']> =>
        user.exec('bash', '-c', `cd '${path}' && ${command}`);
      await sh('mkdir first-lab/staging/one second-lab/staging/one');
      await sh('echo first > first-lab/staging/one/a; echo second > second-lab/staging/one/a');
      const elsewhere = await user.run(
        'freeze',
        join(path, 'first-lab/staging/one'),
        '--bucket',
        'second-lab',
      );
      expect(elsewhere).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('staged for bucket first-lab'),
      });
      const frozen = await user.run('freeze', join(path, 'second-lab/staging/one'), '--json');
      expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
      expect(JSON.parse(frozen.stdout)).toMatchObject({ outcome: 'frozen', bucket: 'second-lab', items: 1 });
      expect(
        (await sh('cat second-lab/one/data/a; ls second-lab/staging first-lab first-lab/staging')).stdout,
      ).toBe('second\nfirst-lab:\nstaging\n\nfirst-lab/staging:\none\n\nsecond-lab/staging:\n');
      expect(await sh('mv first-lab/staging/one second-lab/')).toMatchObject({ exitCode: 1 });
      expect((await sh('cat first-lab/staging/one/a')).stdout).toBe('first\n');
    });
  }
});
