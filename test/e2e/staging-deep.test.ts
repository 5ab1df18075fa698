import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasProgram, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createTestBucket, type TestBucket } from '../support/test-bucket.ts';

const hasPython = await hasProgram('python3');

/** Goes down in steps, as a program has to, and does at the bottom what programs do. */
const PROGRAM = `
import os, stat, sys
os.chdir('staging')
os.mkdir('deep')
os.chdir('deep')
name = 'd' * 200
for depth in range(int(sys.argv[1])):
    os.mkdir(name)
    os.chdir(name)
with open('file', 'w') as f: f.write('content')
with open('file') as f: assert f.read() == 'content'
os.link('file', 'link'); os.symlink('file', 'symlink'); os.mkdir('sub'); os.mkfifo('pipe')
assert os.stat('symlink').st_ino == os.stat('link').st_ino == os.stat('file').st_ino
assert os.stat('file').st_nlink == 2 and os.readlink('symlink') == 'file'
os.rename('file', 'sub/file'); os.chmod('link', 0o600); os.utime('link', (1, 2)); os.truncate('link', 3)
assert stat.S_IMODE(os.stat('sub/file').st_mode) == 0o600 and os.stat('sub/file').st_mtime != 2
assert open('link').read() == 'con'
try: os.setxattr('link', 'user.a', b'x'); assert os.getxattr('link', 'user.a') == b'x'
except OSError as error: print('no extended attributes:', error)
assert sorted(os.listdir('.')) == ['link', 'pipe', 'sub', 'symlink'], os.listdir('.')
bottom = os.open('.', os.O_RDONLY)
os.fsync(bottom)
# As long a path as a call takes, from where we are.
long = '/'.join(['l' * 200] * 20)
os.makedirs(long)
with open(long + '/' + 'f' * 70, 'w') as f: f.write('far')
assert len(long) == 4019 and os.listdir(long) == ['f' * 70]
os.rename(long + '/' + 'f' * 70, 'back'); assert open('back').read() == 'far'
for each in ['link', 'sub/file', 'symlink', 'pipe', 'back']: os.unlink(each)
os.rmdir('sub')
assert os.listdir(bottom) == ['l' * 200]
try: os.stat('link'); assert False
except FileNotFoundError: pass
with open('left', 'w') as f: f.write('left')
print('done')
`;

describe.skipIf(mountObstacle !== undefined || !hasPython)('directories deep in staging', () => {
  let bucket: TestBucket;
  let mounted: Mounted;
  let directory: string;

  beforeAll(async () => {
    bucket = await createTestBucket();
    directory = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-deep-'));
    // Of the 4,095 bytes that a path may have, the area alone takes 3,000.
    const staging = join(directory, ...Array.from({ length: 15 }, () => 's'.repeat(199)));
    await mkdir(staging, { recursive: true });
    mounted = await mount(bucket.env, [bucket.bucket], '--staging-dir', staging);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
    await rm(directory, { recursive: true });
  });

  test.each([0, 6, 30])('%i directories down everything works that works at the top', async (depth) => {
    const { user, path } = mounted;
    const run = await user.exec(
      'bash',
      '-c',
      `cd '${path}' && exec python3 -c "$1" ${depth}`,
      'bash',
      PROGRAM,
    );
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/done\n$/);
    if (depth === 0) {
      expect(await user.run('discard', join(path, 'staging/deep'), '--yes')).toMatchObject({ exitCode: 0 });
    } else {
      const frozen = await user.run('freeze', join(path, 'staging/deep'));
      if (depth === 6) {
        expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
        expect(await mounted.sh(`cat deep/data/${`${'d'.repeat(200)}/`.repeat(depth)}left`)).toBe('left');
      } else {
        expect(frozen.exitCode).toBe(1);
        expect(frozen.stderr).toMatch(/dd\/left has a path over 1500 bytes/);
        await mounted.sh('rm -r staging/deep');
      }
    }
    expect(await mounted.sh('ls staging')).toBe('');
  });
});
