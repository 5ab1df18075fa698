import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { isProcessAlive } from '../../src/process-alive.ts';
import { datasetOf, randomBytesOf } from '../support/datasets.ts';
import { type Mounted, hasProgram, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;
const big = randomBytesOf(7, 24 * MiB + 12_345);
const texts = Object.fromEntries(
  Array.from({ length: 60 }, (_, index) => [
    `dir-${index % 6}/sub dir/file ${index}.txt`,
    `line one of ${index}\nneedle-${index}\n${'x'.repeat(index * 997)}\n`,
  ]),
);
const items: Record<string, Buffer | string> = { ...texts, 'big.bin': big, empty: '' };
const hasRsync = await hasProgram('rsync');
const hasPython = await hasProgram('python3');

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)(
  'programs on a mounted dataset, through %s',
  (transport) => {
    let bucket: TestBucket;
    let mounted: Mounted;
    let scratch: string;

    beforeAll(async () => {
      scratch = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-scratch-'));
      bucket = await createTestBucket();
      await bucket.putDataset(datasetOf('programs', items));
      mounted = await mount(bucket.env, [bucket.bucket], '--transport', transport);
    });
    afterAll(async () => {
      await mounted?.close();
      await bucket?.close();
      // Copies that keep modes are read-only, too.
      await run('chmod', ['-R', 'u+w', scratch]);
      await rm(scratch, { recursive: true });
    });

    /** Compares a copy with what was put into the bucket, by MD5 of every file. */
    const expectCopy = async (directory: string): Promise<void> => {
      const sums = await mounted.sh(`cd '${directory}' && find . -type f -print0 | xargs -0 md5sum`);
      const found = Object.fromEntries(
        sums
          .trimEnd()
          .split('\n')
          .map((line) => [line.slice(36), line.slice(0, 32)]),
      );
      expect(found).toEqual(
        Object.fromEntries(
          Object.entries(items).map(([path, body]) => [path, createHash('md5').update(body).digest('hex')]),
        ),
      );
    };

    test('find, and md5sum of everything', async () => {
      expect((await mounted.sh('find programs/data -type f')).trimEnd().split('\n').length).toBe(62);
      expect((await mounted.sh('find programs/data -type d')).trimEnd().split('\n').length).toBe(13);
      await expectCopy(join(mounted.path, 'programs/data'));
    });

    test('grep -r', async () => {
      const found = await mounted.sh('grep -r needle-41 programs/data');
      expect(found).toBe('programs/data/dir-5/sub dir/file 41.txt:needle-41\n');
    });

    test('tar c', async () => {
      await mounted.sh(`mkdir ${scratch}/tar && tar c -C programs/data . | tar x -C ${scratch}/tar`);
      await expectCopy(`${scratch}/tar`);
    });

    test('cp -rp keeps times to the millisecond and more', async () => {
      await mounted.sh(`cp -rp programs/data ${scratch}/cp`);
      await expectCopy(`${scratch}/cp`);
      const times = await mounted.sh(`stat -c %Y programs/data/big.bin ${scratch}/cp/big.bin`);
      const [there, copied] = times.trim().split('\n');
      expect(copied).toBe(there);
    });

    test.skipIf(!hasRsync)('rsync -a, and nothing to do the second time', async () => {
      await mounted.sh(`rsync -a programs/data/ ${scratch}/rsync/`);
      await expectCopy(`${scratch}/rsync`);
      const again = await mounted.sh(`rsync -a --stats programs/data/ ${scratch}/rsync/`);
      expect(again).toContain('Number of regular files transferred: 0');
    });

    test.skipIf(!hasPython)('a Python script that maps, seeks and reads backwards', async () => {
      const script = join(scratch, 'reader.py');
      await writeFile(
        script,
        `
import hashlib, mmap, os, sys
path = sys.argv[1]
size = os.stat(path).st_size
with open(path, 'rb') as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    print(len(m) == size, hashlib.md5(m).hexdigest())
    backwards = hashlib.md5()
    for offset in range(size - size % 100003, -1, -100003):
        f.seek(offset)
        chunk = f.read(1000)
        assert chunk == m[offset:offset + 1000], offset
    f.seek(0, os.SEEK_END)
    print(f.tell(), f.read(10))
    m.close()
`,
      );
      const output = await mounted.sh(`python3 ${script} programs/data/big.bin`);
      const md5 = createHash('md5').update(big).digest('hex');
      expect(output).toBe(`True ${md5}\n${big.length} b''\n`);
    });

    test('50 readers at once', async () => {
      const md5 = createHash('md5').update(big).digest('hex');
      const sums = await mounted.sh('for i in $(seq 50); do md5sum programs/data/big.bin & done; wait');
      expect(sums.trimEnd().split('\n')).toEqual(Array(50).fill(`${md5}  programs/data/big.bin`));
    });

    test('du shows the real sum, and df, too, once the dataset is known', async () => {
      const total = Object.values(items).reduce((sum, body) => sum + Buffer.byteLength(body), 0);
      const du = Number((await mounted.sh('du -sb --apparent-size programs/data')).split('\t')[0]);
      expect(du - 13 * 4096).toBe(total);
      const [, used] = (await mounted.sh('df --output=used -B1 .')).trim().split('\n');
      expect(Number(used)).toBeGreaterThanOrEqual(total);
      expect(Number(used)).toBeLessThan(total + 4096);
    });

    test('every change is refused with EROFS', async () => {
      const changes = [
        'touch programs/data/big.bin',
        'touch new-file',
        'mkdir programs/new-directory',
        'rm programs/data/empty',
        'rmdir programs/data/dir-0',
        'mv programs renamed',
        'mv programs/data/empty programs/data/moved',
        'ln programs/data/empty programs/data/hard',
        'ln -s target programs/link',
        'chmod u+w programs/data/empty',
        'chown 1:1 programs/data/empty',
        'truncate -s 1 programs/data/empty',
        'cp /dev/null programs/data/empty',
        'mkfifo programs/fifo',
        'echo text >> programs/README.yml',
      ];
      for (const change of changes) {
        const { exitCode, stderr } = await mounted.user.exec(
          'bash',
          '-c',
          `cd ${mounted.path} && LC_ALL=C ${change}`,
        );
        expect({ change, failed: exitCode !== 0 }).toEqual({ change, failed: true });
        expect(stderr, change).toContain('Read-only file system');
      }
    });
  },
);

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)(
  'unmounting while programs run, through %s',
  (transport) => {
    test('leaves no process and no mount', async () => {
      const bucket = await createTestBucket();
      await bucket.putDataset(datasetOf('programs', { 'big.bin': big }));
      const mounted = await mount(bucket.env, [bucket.bucket], '--transport', transport);
      const readers = mounted.user.exec(
        'bash',
        '-c',
        `cd ${mounted.path}; for i in $(seq 10); do (while md5sum programs/data/big.bin; do :; done) & done; echo started; wait`,
      );
      await mounted.sh('head -c 1000000 programs/data/big.bin | wc -c');
      const ended = await mounted.user.run('umount', mounted.path);
      expect(ended).toMatchObject({ exitCode: 0, stderr: '' });
      expect(await isProcessAlive(mounted.pid)).toBe(false);
      const mounts = await mounted.user.exec('cat', '/proc/self/mountinfo');
      expect(mounts.stdout).not.toContain(mounted.path);
      // Their loops end with the first md5sum that fails.
      await readers;
      await mounted.close();
      await bucket.close();
    });
  },
);
