import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datasetOf } from '../support/datasets.ts';
import { CLI, mountObstacle, User } from '../support/mounted.ts';
import { AS_NOBODY } from '../support/nobody.ts';
import { createTestBucket, type TestBucket } from '../support/test-bucket.ts';

const FILES = 300;
/** Of these a mount keeps half for its own work, and one user has half of what the others leave. */
const DESCRIPTORS_MAX = 256;
const FIRST_USER = 64;
const SECOND_USER = 32;
const obstacle = process.getuid?.() === 0 ? '' : ' [skipped: not root]';

/** Opens all files of a directory, or as many as it can, prints how many and why no more, and keeps them until it is ended. */
const HOLDER = `
const fs = require('node:fs');
const directory = process.argv[1];
let opened = 0, end = 'all';
try {
  for (const name of fs.readdirSync(directory)) { fs.openSync(directory + '/' + name, 'r'); opened += 1; }
} catch (error) { end = error.code; }
console.log(JSON.stringify({ opened, end }));
process.stdin.resume();`;

describe.skipIf(mountObstacle !== undefined || obstacle !== '')(
  `a mount with few descriptors${obstacle}`,
  () => {
    let bucket: TestBucket;
    let user: User;
    let path: string;
    const holders: ChildProcessWithoutNullStreams[] = [];

    const sh = async (command: string): Promise<string> => {
      const { stdout, stderr, exitCode } = await user.exec('bash', '-ec', `cd '${path}'; ${command}`);
      expect({ command, exitCode, stderr }).toMatchObject({ exitCode: 0 });
      return stdout;
    };
    /** Opens files as a user, for as long as the process runs. */
    const hold = async (
      ...as: readonly string[]
    ): Promise<{ child: ChildProcessWithoutNullStreams; said: unknown }> => {
      const [command, ...args] = [...as, process.execPath, '-e', HOLDER, join(path, 'staging/many')];
      const child = user.startProgram(command, ...args);
      holders.push(child);
      const [said] = (await once(child.stdout, 'data')) as [Buffer];
      return { child, said: JSON.parse(said.toString()) };
    };
    const end = async (child: ChildProcessWithoutNullStreams): Promise<void> => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    };

    beforeAll(async () => {
      bucket = await createTestBucket();
      await bucket.putDataset(
        datasetOf(
          'leaves',
          Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`${index}.txt`, `leaf ${index}`])),
        ),
      );
      user = await User.create(bucket.env);
      path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
      const limited = `ulimit -n ${DESCRIPTORS_MAX}; exec "$@"`;
      const mounted = await user.exec(
        'bash',
        '-c',
        limited,
        'bash',
        process.execPath,
        CLI,
        ...['mount', bucket.bucket, path, '--allow-other'],
      );
      expect(mounted).toMatchObject({ exitCode: 0 });
      await sh(`mkdir staging/many staging/made && for i in $(seq ${FILES}); do echo $i > staging/many/$i; done
        for i in $(seq 40); do echo $i > staging/made/$i; done`);
    });
    afterAll(async () => {
      for (const holder of holders) await end(holder);
      await user?.unmount(path);
      await rm(path, { recursive: true });
      await user?.remove();
      await bucket?.close();
    });

    test('goes on for others when one user has as many staged files open as that may have', async () => {
      const first = await hold();
      expect(first.said).toEqual({ opened: FIRST_USER, end: 'EMFILE' });
      const second = await hold(...AS_NOBODY);
      expect(second.said).toEqual({ opened: SECOND_USER, end: 'EMFILE' });
      // The user is refused, and the mount works: it reads a dataset that nobody has read, and freezes.
      expect(await sh('cat leaves/data/*.txt | wc -c')).toBe(`${10 * 6 + 50 * 7}\n`);
      expect((await hold()).said).toEqual({ opened: 0, end: 'EMFILE' });
      await sh('mv staging/made .');
      expect(await sh('cat made/data/* | sort -n | tail -1')).toBe('40\n');
      // What is closed can be opened again.
      await end(first.child);
      await expect
        .poll(async () => {
          const again = await hold();
          await end(again.child);
          return again.said;
        })
        .toEqual({ opened: (DESCRIPTORS_MAX / 2 - SECOND_USER) / 2, end: 'EMFILE' });
    });
  },
);
