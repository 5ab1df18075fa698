import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { KiB } from '../../src/limits.ts';
import { datasetOf } from '../support/datasets.ts';
import { CLI, type CommandResult, User } from '../support/mounted.ts';
import { type TestBucket, createEmbeddedBucket } from '../support/test-bucket.ts';

const ITEMS = 400;
/** More than any pipe holds, together with the number of items. */
const LONG = 'x'.repeat(200);
const PIPE_MAX_BYTES = 256 * KiB;

describe('everything that a command prints arrives, or it fails', () => {
  let bucket: TestBucket;
  let user: User;
  beforeAll(async () => {
    bucket = await createEmbeddedBucket();
    const relpaths = Array.from({ length: ITEMS }, (_, index) => `${LONG}/${LONG}/${LONG}/${index}`);
    const dataset = datasetOf('many', Object.fromEntries(relpaths.map((path) => [path, ''])));
    await bucket.putDataset(dataset);
    for (const { key } of datasetObjects(dataset)) if (key.includes('/data/')) await bucket.put(key, 'wrong');
    user = await User.create(bucket.env);
    await mkdir(join(user.home, 'folder'));
    for (let index = 0; index < ITEMS * 3; index += 1)
      await writeFile(join(user.home, 'folder', `${LONG}\n${index}`), '');
  });
  afterAll(async () => {
    await user.remove();
    await bucket.close();
  });

  const sh = async (script: string): Promise<CommandResult> =>
    user.exec('bash', '-c', `cd "$0"; cli() { "${process.execPath}" "${CLI}" "$@"; }; ${script}`, user.home);

  test.each([
    ['ls --json test-bucket/many', 0],
    ['verify --json test-bucket/many', 1],
    ['freeze --dry-run --json --bucket test-bucket folder', 1],
  ])('%s', async (command, exitCode) => {
    expect(await sh(`cli ${command} > whole`)).toMatchObject({ exitCode });
    const whole = await readFile(join(user.home, 'whole'), 'utf8');
    expect(whole.length).toBeGreaterThan(PIPE_MAX_BYTES);
    expect(JSON.parse(whole)).toBeTruthy();

    const piped = await sh(`cli ${command} | cat > piped; exit "\${PIPESTATUS[0]}"`);
    expect(piped).toMatchObject({ exitCode });
    expect((await readFile(join(user.home, 'piped'), 'utf8')).length).toBe(whole.length);

    const cut = await sh(`cli ${command} | head -1 > /dev/null; exit "\${PIPESTATUS[0]}"`);
    expect(cut).toMatchObject({ exitCode, stderr: expect.not.stringContaining('EPIPE') });

    const full = await sh(`cli ${command} > /dev/full`);
    expect(full).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/standard output could not be written: ENOSPC/),
    });

    // What the file takes of the last write is less than all of it, and no error.
    const short = await sh(`trap '' XFSZ; ulimit -f 64; cli ${command} > short`);
    expect(short).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/standard output could not be written: EFBIG/),
    });
  });

  test.each(['--help', '--version', 'help ls', 'status', 'doctor --json', 'status --json'])(
    '%s > /dev/full',
    async (command) => {
      expect(await sh(`cli ${command} > /dev/full`)).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/standard output could not be written: ENOSPC/),
      });
    },
  );

  test('a reader that is slow gets all of it, and one that never reads can be left by Ctrl-C', async () => {
    const child = user.start('ls', '--json', 'test-bucket/many');
    const { stdout } = child;
    if (!stdout) throw new Error('no standard output');
    const exited = once(child, 'exit');
    // Full: what is left waits in the process.
    while (stdout.readableLength < stdout.readableHighWaterMark) await once(stdout, 'readable');
    const parts: Buffer[] = [];
    for await (const part of stdout) parts.push(part);
    expect(JSON.parse(Buffer.concat(parts).toString('utf8'))).toHaveLength(ITEMS);
    expect(await exited).toEqual([0, null]);

    const stuck = user.start('ls', '--json', 'test-bucket/many');
    const ended = once(stuck, 'exit');
    await once(stuck.stdout ?? stuck, 'readable');
    stuck.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGINT']);
  });

  test('errors that nobody can be told change the exit code, progress that nobody sees does not', async () => {
    expect(await sh('cli ls test-bucket/none 2> /dev/full')).toMatchObject({ exitCode: 1, stdout: '' });
    expect(await sh('cli ls nonsense-option -x 2> /dev/full')).toMatchObject({ exitCode: 2, stdout: '' });
    const dryRun = 'freeze --dry-run --bucket test-bucket good';
    await mkdir(join(user.home, 'good'), { recursive: true });
    await writeFile(join(user.home, 'good', 'README.yml'), 'description: good\n');
    await writeFile(join(user.home, 'good', 'file'), 'content');
    expect(await sh(`cli ${dryRun} 2> /dev/full`)).toMatchObject({ exitCode: 0 });
    expect(await sh(`cli ${dryRun} 2>&1 >/dev/null | true; exit "\${PIPESTATUS[0]}"`)).toMatchObject({
      exitCode: 0,
    });
    // An empty directory has no place in a dataset, which is a warning.
    await mkdir(join(user.home, 'good', 'empty'));
    expect(await sh(`cli ${dryRun} 2> /dev/full`)).toMatchObject({ exitCode: 1 });
  });

  test('closed, they are like /dev/null', async () => {
    for (const closed of ['>&-', '2>&-', '>&- 2>&-', '<&- >&- 2>&-'])
      expect(await sh(`cli ls test-bucket ${closed}`)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await sh('cli ls test-bucket/none >&- 2>&-')).toMatchObject({ exitCode: 1 });
  });
});
