import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { isFull } from '../support/full.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createTestBucket } from '../support/test-bucket.ts';

const DIRECTORIES = 10;
const FILES_EACH = 100_000;
const HEAP_MIB = 1024;
/** What the process takes besides its heap. */
const OTHER_MIB = 512;
const LONG_MS = 3_600_000;
const skipped = isFull ? '' : ' [skipped: long, only with DTOOL_ECS_TEST_FULL=1]';

/** Where the only folder of the only staging area in a directory is on the local disk. */
async function onlyFolderIn(directory: string): Promise<string> {
  const [area = ''] = await readdir(directory);
  const folders = join(directory, area, 'folders');
  const [folder = ''] = await readdir(folders);
  return join(folders, folder);
}

/** Makes the files, whose names tell them apart, in a directory that is on the same disk. */
function fill(directory: string): void {
  for (let at = 0; at < DIRECTORIES; at += 1) {
    mkdirSync(join(directory, `part-${at}`), { recursive: true });
    for (let index = 0; index < FILES_EACH; index += 1) {
      writeFileSync(join(directory, `part-${at}`, `sample-${index}.csv`), '');
    }
  }
}

const heapOptionOf = async ({ pid }: Mounted): Promise<string | undefined> =>
  (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').find((one) => one.startsWith('--max-old'));

describe.skipIf(mountObstacle !== undefined)('many staged files', () => {
  test.skipIf(!isFull)(
    `a million are listed with a heap of ${HEAP_MIB} MiB, and everything works${skipped}`,
    async () => {
      const staging = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-many-'));
      const bucket = await createTestBucket();
      const mounted = await mount(
        { ...bucket.env, NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` },
        [bucket.bucket],
        '--staging-dir',
        staging,
      );
      try {
        expect(await heapOptionOf(mounted)).toBeUndefined();
        await mounted.sh('mkdir staging/many');
        const folder = await onlyFolderIn(staging);
        fill(join(staging, 'filled'));
        await rename(join(staging, 'filled'), join(folder, 'filled'));
        const count = DIRECTORIES * FILES_EACH;
        expect(await mounted.sh('find staging/many -type f -size 0 | wc -l')).toBe(`${count}\n`);
        expect(Number(await mounted.sh('ls -lR staging/many | grep -c csv'))).toBe(count);
        expect(await mounted.sh('find staging/many -type f -printf "%P\\n" | sort -u | wc -l')).toBe(
          `${count}\n`,
        );
        expect(
          await mounted.sh(
            'cd staging/many/filled/part-7 && echo x > sample-5.csv && mv sample-5.csv new && cat new && rm new sample-6.csv && ls | wc -l',
          ),
        ).toBe(`x\n${FILES_EACH - 2}\n`);
        expect((await mounted.status()).pid).toBe(mounted.pid);
        const [, peakKib] =
          /VmHWM:\s+(\d+) kB/.exec(await readFile(`/proc/${mounted.pid}/status`, 'utf8')) ?? [];
        expect(Number(peakKib) / 1024).toBeLessThan(HEAP_MIB + OTHER_MIB);
      } finally {
        await mounted.close();
        await bucket.close();
        await rm(staging, { recursive: true });
      }
    },
    LONG_MS,
  );

  test('a mount in the background may use what the machine has', async () => {
    const bucket = await createTestBucket();
    const mounted = await mount(bucket.env, [bucket.bucket]);
    try {
      expect(await heapOptionOf(mounted)).toMatch(/^--max-old-space-size=\d+$/);
    } finally {
      await mounted.close();
      await bucket.close();
    }
  });
});
