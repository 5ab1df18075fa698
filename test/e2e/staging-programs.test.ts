import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TRANSPORT_NAMES } from '../../src/fuse/transport/transport.ts';
import { hasProgram, type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { createTestBucket, type TestBucket } from '../support/test-bucket.ts';

/** What fuse-native loses: see test/contract/transport-deviations.ts. */
type Loses = 'mtime';

interface Work {
  readonly needs: readonly string[];
  /** Run in the directory; `$S` is the source. */
  readonly script: string;
  /** Whether times are to be compared. */
  readonly times?: boolean;
  readonly loses?: Loses;
}

const PYTHON_EDIT = `
import mmap, os, random
random.seed(7)
with open('data.h5', 'w+b') as f:
    f.truncate(3_000_000)
    for _ in range(2000):
        f.seek(random.randrange(3_000_000)); f.write(random.randbytes(random.randrange(1, 5000)))
    f.flush(); os.fsync(f.fileno())
    m = mmap.mmap(f.fileno(), 0)
    for _ in range(500):
        at = random.randrange(2_900_000); m[at:at + 9] = b'mmap here'
    m.flush(); m.close()
    f.seek(0, 2); print(f.tell())
with open('sparse', 'wb') as f:
    f.seek(50_000_000); f.write(b'end')
`;

const WORKS: Readonly<Record<string, Work>> = {
  // A copy of a directory that nobody may write to is its owner's to write to.
  'cp -r': { needs: [], script: 'cp -r "$S/tree" copy; chmod u+w copy/a/b' },
  'cp -rp': { needs: [], script: 'cp -rp "$S/tree" copy', times: true, loses: 'mtime' },
  'rsync -a': {
    needs: ['rsync'],
    script: 'rsync -a "$S/tree/" copy && rsync -ai "$S/tree/" copy',
    times: true,
    loses: 'mtime',
  },
  'tar x': { needs: [], script: 'tar xf "$S/tree.tar"', times: true, loses: 'mtime' },
  unzip: { needs: ['zip', 'unzip'], script: 'unzip -q "$S/tree.zip"' },
  'git clone and commit': {
    needs: ['git'],
    script: `git clone -q "$S/repository" work && cd work && echo more >> file-7 && rm file-9
      git -c user.name=a -c user.email=a@b commit -qam more && git fsck 2>&1 && git status --porcelain && git log --oneline | wc -l
      git gc -q && rm -rf .git`,
  },
  'an editor that saves by rename': {
    needs: [],
    script: `echo one > file && for i in $(seq 50); do echo $i > .file.swp; sync .file.swp; ln file file~; mv .file.swp file; rm file~; done
      sed -i s/50/fifty/ file && cat file`,
  },
  sqlite: {
    needs: ['sqlite3'],
    script: `for mode in delete wal; do sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b);
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) insert into t select i, hex(i) from n;
        delete from t where a % 3 = 0; vacuum; pragma integrity_check; select count(*), sum(a) from t"; done`,
  },
  'random writes, a mapping, and a sparse file': {
    needs: ['python3'],
    script: `python3 -c "${PYTHON_EDIT}"`,
  },
};

const programs = new Set(Object.values(WORKS).flatMap(({ needs }) => needs));
const present = new Set<string>();
for (const program of programs) if (await hasProgram(program)) present.add(program);

describe.skipIf(mountObstacle !== undefined).each(TRANSPORT_NAMES)('in staging/, over %s,', (transport) => {
  let bucket: TestBucket;
  let mounted: Mounted;
  let scratch: string;

  const sh = async (directory: string, command: string): Promise<string> =>
    mounted.sh(`cd '${directory}' && export S='${scratch}' TZ=UTC && ${command}`);

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-scratch-'));
    bucket = await createTestBucket();
    mounted = await mount(bucket.env, [bucket.bucket], '--transport', transport);
    await sh(
      scratch,
      `mkdir -p tree/a/b tree/empty && head -c 3000000 /dev/urandom > tree/big && ln tree/big tree/a/hard && ln -s ../big tree/a/soft
      for i in $(seq 100); do echo $i > "tree/a/b/naïve $i"; done; chmod 640 tree/big; chmod 555 tree/a/b; : > tree/void
      find tree -depth -exec touch -h -d '2020-02-03 04:05:06.123456789' {} +
      tar cf tree.tar tree; command -v zip > /dev/null && zip -qry tree.zip tree
      git init -q repository && cd repository && for i in $(seq 200); do echo $i > file-$i; done
      git add . && git -c user.name=a -c user.email=a@b commit -qm one`,
    );
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
    await rm(scratch, { recursive: true });
  });

  const works = Object.entries(WORKS);
  test.for(works)('%s does what it does in a local directory', async ([, work], { skip }) => {
    if (work.needs.some((program) => !present.has(program))) skip(`needs ${work.needs.join(', ')}`);
    const here = join(scratch, 'here');
    const there = join(mounted.path, 'staging', 'there');
    const hasTimes = work.times && !(work.loses && transport === 'fuse-native');
    const format = hasTimes ? '%P %y %m %n %l %T@' : '%P %y %m %l';
    const results: string[] = [];
    for (const directory of [here, there]) {
      await sh(scratch, `mkdir '${directory}'`);
      const said = await sh(directory, work.script);
      const found = await sh(
        directory,
        `find . -mindepth 1 \\( -type d -o -printf '%s ' \\) -printf '${format}\\n' | sed 's/0000000000$//' | sort && find . -type f -exec md5sum {} + | sort`,
      );
      // A second rsync tells of the times that the first one could not set.
      results.push(hasTimes || !work.times ? `${said}\n${found}` : found);
      await sh(scratch, `chmod -R u+w '${directory}' && rm -r '${directory}'`);
    }
    expect(results[1]).toBe(results[0]);
  });
});
