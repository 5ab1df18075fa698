import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { MountStatus } from '../../src/mount.ts';
import { folderOf, onlyDataset, readBack } from '../freeze/support.ts';
import { randomBytesOf } from '../support/datasets.ts';
import { BUCKET, OWNER, stage, type Stage } from '../support/freeze-stage.ts';
import { scaled } from '../support/full.ts';
import { mountObstacle, type User } from '../support/mounted.ts';

/** A user with a directory to mount at, again and again. */
interface Mounting {
  readonly made: Stage;
  readonly user: User;
  readonly path: string;
  /** Unmounts; done at the end of the test, too. */
  readonly close: () => Promise<void>;
  /** @returns its process */
  readonly mount: (...options: readonly string[]) => Promise<number>;
  readonly status: () => Promise<MountStatus>;
  /** Runs a shell command in the mount. */
  readonly sh: (command: string) => ReturnType<User['exec']>;
  /** Path of a staged folder. */
  readonly staged: (name: string) => string;
}

async function mounting(): Promise<Mounting> {
  const made = await stage();
  const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
  const user = await made.user();
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    await user.unmount(path);
    await rmdir(path);
  };
  onTestFinished(close);
  const status = async (): Promise<MountStatus> => {
    const [mount] = await user.mounts();
    if (!mount) throw new Error('nothing is mounted');
    return mount;
  };
  return {
    made,
    user,
    path,
    close,
    status,
    mount: async (...options) => {
      const mounted = await user.run('mount', BUCKET, path, ...options);
      const [, pid] = /\(pid (\d+),/.exec(mounted.stdout) ?? [];
      if (mounted.exitCode !== 0 || pid === undefined) throw new Error(mounted.stderr);
      return Number(pid);
    },
    sh: async (command) => user.exec('bash', '-c', `cd '${path}' && ${command}`),
    staged: (name) => join(path, 'staging', name),
  };
}

/** Resolves when inotify(7) tells a program that watches a directory that it is gone. */
function removalOf(directory: string): Promise<void> {
  const watcher = watch(directory);
  onTestFinished(() => watcher.close());
  return new Promise((resolve) => {
    watcher.on('change', (event) => {
      if (event === 'rename') resolve();
    });
  });
}

/** Holds the first item that arrives, until it is let go. */
function holdItems(made: Stage): { readonly arrived: Promise<void>; readonly release: () => void } {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const arrived = new Promise<void>((resolve) => {
    made.intercept = async ({ operation, key }) => {
      if (operation === 'PutObject' && key.includes('/data/')) {
        resolve();
        await held;
      }
      return undefined;
    };
  });
  return { arrived, release };
}

/** Sockets of a mount that commands are connected to, those to the store left out. */
async function connectionsOf(pid: number): Promise<number> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map(async (fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  const unix = await readFile('/proc/net/unix', 'utf8');
  const named = new Set(
    unix.split('\n').flatMap((line) => {
      const [, , , , , , inode, path] = line.split(/ +/);
      return path?.endsWith('.sock') ? [`socket:[${inode}]`] : [];
    }),
  );
  return links.filter((link) => named.has(link)).length;
}

async function outputOf(
  child: ChildProcess,
): Promise<{ stdout: string; stderr: string; exitCode: number | null }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  await once(child, 'close');
  return { stdout, stderr, exitCode: child.exitCode };
}

const FILES = { a: 'aaa', 'b/c': 'ccc', 'd.bin': randomBytesOf(3, 2 << 20), 'README.yml': 'x: 1\n' };

/** Each kill takes seconds: every so many requests one has its turn. */
const KILL_STEP = scaled({ usual: 9, full: 1 });

describe.skipIf(mountObstacle !== undefined)('freeze in a mount', () => {
  test('cp -r, freeze: it stands in the root at once, its blocks are there, and the staged folder is gone', async () => {
    const { made, user, path, mount, sh, staged } = await mounting();
    await mount();
    expect((await sh('ls results; ls')).stdout).toBe('staging\n');
    expect(await sh(`cp -r '${await folderOf(FILES)}' staging/`)).toMatchObject({ exitCode: 0 });
    const dry = await user.run('freeze', staged('results'), '--dry-run');
    expect(dry).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^results: 3 items, .* would be/),
    });
    const removal = removalOf(staged('results'));
    const frozen = await user.run('freeze', staged('results'));
    expect(frozen, frozen.stderr).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^results: 3 items, 2\.0 MiB, frozen as ecs:\/\/freeze-bucket\//),
      stderr: expect.stringMatching(/^Uploading: 100%, 2\.0 MiB of 2\.0 MiB, 3 of 3 items$/m),
    });
    await removal;
    expect((await sh('ls; ls staging')).stdout).toBe('results\nstaging\n');
    expect((await sh('cat results/data/a results/data/b/c')).stdout).toBe('aaaccc');
    const itemGets: string[] = [];
    made.intercept = async ({ operation, key }) => {
      if (operation === 'GetObject' && key.includes('/data/')) itemGets.push(key);
      return undefined;
    };
    expect(
      await user.exec('cmp', join(path, 'results/data/d.bin'), join(path, 'results/data/d.bin')),
    ).toMatchObject({
      exitCode: 0,
    });
    expect(itemGets).toEqual([]);
    expect((await readBack(made.store, await onlyDataset(made.store))).size).toBe(3);
    expect((await user.run('status')).stdout).not.toContain('staged');
  });

  test('refused with every reason at once, open files among them; those who write are not disturbed', async () => {
    const { made, user, mount, sh, status, staged } = await mounting();
    await mount();
    await sh('mkdir staging/x && ln -s /etc staging/x/out && echo "[" > staging/x/README.yml');
    const writer = user.startProgram(
      'bash',
      '-c',
      `exec 3> '${staged('x')}/open file' && echo ready && read && echo end >&3`,
    );
    await once(writer.stdout, 'data');
    const refused = await user.run('freeze', staged('x'));
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr.split('\n')).toEqual([
      expect.stringMatching(/^README\.yml is not YAML/),
      'open file is open for writing; close it',
      expect.stringMatching(/^out is a symbolic link that leaves/),
      "dtool-ecs-mount: x can't be frozen for 3 reasons; nothing was uploaded",
      '',
    ]);
    writer.stdin.end('\n');
    await once(writer, 'close');
    expect((await sh('cat "staging/x/open file"')).stdout).toBe('end\n');
    expect(made.server.requestCounts().PutObject).toBeUndefined();
    expect((await status()).staging).toMatchObject([
      { name: 'x', state: 'failed', reason: expect.any(String) },
    ]);
    await sh('rm staging/x/out staging/x/README.yml');
    expect(await user.run('freeze', staged('x'), '--name', 'y')).toMatchObject({ exitCode: 0 });
    expect((await sh('cat "y/data/open file"')).stdout).toBe('end\n');
  });

  test('while it runs the folder is sealed, a second freeze attaches, Ctrl-C detaches, and status tells', async () => {
    const { made, user, mount, sh, status, staged } = await mounting();
    const pid = await mount();
    await sh(`cp -r '${await folderOf(FILES)}' staging/`);
    const { arrived, release } = holdItems(made);
    const first = user.start('freeze', staged('results'));
    const firstOutput = outputOf(first);
    await arrived;
    for (const change of [
      'echo x >> staging/results/a',
      'rm staging/results/a',
      'mkdir staging/results/new',
      'mv staging/results staging/other',
      'chmod 600 staging/results/a',
    ])
      expect(await sh(change), change).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('Device or resource busy'),
      });
    expect((await sh('cat staging/results/a')).stdout).toBe('aaa');
    expect(await status()).toMatchObject({
      staging: [{ bucket: BUCKET, name: 'results', state: 'uploading', progress: { totalItems: 3 } }],
    });
    expect((await user.run('status')).stdout).toMatch(/staged +freeze-bucket\/results: uploading, /);
    const before = await connectionsOf(pid);
    const second = outputOf(user.start('freeze', staged('results'), '--json'));
    await expect.poll(async () => connectionsOf(pid), { timeout: 10_000, interval: 20 }).toBe(before + 1);
    first.kill('SIGINT');
    expect(await firstOutput).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/the freeze of .*results goes on in the mount\n.*status/),
    });
    release();
    const { stdout, exitCode } = await second;
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'frozen', items: 3 });
    expect((await sh('ls')).stdout).toBe('results\nstaging\n');
    await onlyDataset(made.store);
  });

  test('umount in the middle of it: it stops, and goes on in the next mount', async () => {
    const { made, user, path, mount, sh, status, staged } = await mounting();
    await mount();
    await sh(`cp -r '${await folderOf(FILES)}' staging/`);
    const { arrived, release } = holdItems(made);
    const freezing = outputOf(user.start('freeze', staged('results')));
    await arrived;
    const unmounting = user.run('umount', path);
    expect(await freezing).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/stopped before its end[^]*goes on from there/),
    });
    release();
    expect(await unmounting).toMatchObject({ exitCode: 0 });
    await mount();
    expect(await status()).toMatchObject({ staging: [{ state: 'failed', reason: 'it was interrupted' }] });
    expect((await sh('cat staging/results/a')).stdout).toBe('aaa');
    const rerun = await user.run('freeze', staged('results'), '--json');
    expect(JSON.parse(rerun.stdout)).toMatchObject({ outcome: 'frozen', resumed: true });
    expect((await readBack(made.store, await onlyDataset(made.store))).size).toBe(3);
  });

  test('odd names, empty files and empty directories; a store that is away for a moment', async () => {
    const { made, user, path, mount, sh, staged } = await mounting();
    await mount();
    const folder = 'deep/'.repeat(3) + `${'d'.repeat(250)}/`.repeat(5);
    const files = {
      'naïve file (1).txt': 'n',
      '🧬/🌾': 'emoji',
      [`${'n'.repeat(246)}.txt`]: 'long',
      [`${folder}${'f'.repeat(1_500 - folder.length)}`]: 'deep',
      'back\\slash': 'b',
      empty: '',
    };
    expect(
      await sh(`cp -r '${await folderOf(files)}' staging/ && mkdir staging/results/hollow`),
    ).toMatchObject({
      exitCode: 0,
    });
    expect(await user.exec('bash', '-c', `touch '${staged('results')}/'$'line\\nbreak'`)).toMatchObject({
      exitCode: 0,
    });
    const refused = await user.run('freeze', staged('results'));
    expect(refused).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining(
        'line\\u{a}break has a line break in its path, which dtool refuses; rename it',
      ),
    });
    await sh('rm staging/results/line*break');
    const tried = new Set<string>();
    made.intercept = async ({ operation, key }) => {
      if (operation !== 'PutObject' || tried.has(key)) return undefined;
      tried.add(key);
      return { kind: 'reset' };
    };
    const frozen = await user.run('freeze', staged('results'));
    expect(frozen, frozen.stderr).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('hollow/ is an empty directory, which a dataset has no place for'),
    });
    for (const [relpath, content] of Object.entries(files))
      expect(await readFile(join(path, 'results/data', relpath), 'utf8')).toBe(content);
    expect((await readBack(made.store, await onlyDataset(made.store))).size).toBe(6);
  });

  test('while the store is away staging goes on and a freeze gives up; once it is back, it goes on from there', async () => {
    const { made, user, mount, sh, status, staged } = await mounting();
    await mount('--tries', '4');
    await sh(`cp -r '${await folderOf(FILES)}' staging/`);
    const stored: string[] = [];
    let isAway = false;
    made.intercept = async ({ operation, key }) => {
      // Away as soon as the first item is there.
      if (isAway) return { kind: 'reset' };
      if (operation !== 'PutObject' || !key.includes('/data/')) return undefined;
      stored.push(key);
      isAway = true;
      return undefined;
    };
    const gaveUp = await user.run('freeze', staged('results'));
    expect(gaveUp, gaveUp.stderr).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^dtool-ecs-mount: .*freeze-bucket.*\n.*goes on from there/m),
    });
    expect(isAway).toBe(true);
    expect(await status()).toMatchObject({
      staging: [{ name: 'results', state: 'failed', reason: expect.stringContaining(BUCKET) }],
    });
    // What is staged is as it was, and can be changed.
    expect(await sh('cat staging/results/a && echo more > staging/results/new')).toMatchObject({
      exitCode: 0,
      stdout: 'aaa',
    });
    expect(await sh('mkdir staging/another && echo x > staging/another/y')).toMatchObject({ exitCode: 0 });
    const sent: string[] = [];
    made.intercept = async ({ operation, key }) => {
      if (operation === 'PutObject' && key.includes('/data/')) sent.push(key);
      return undefined;
    };
    const frozen = await user.run('freeze', staged('results'), '--json');
    expect(frozen, frozen.stderr).toMatchObject({ exitCode: 0 });
    expect(JSON.parse(frozen.stdout)).toMatchObject({ outcome: 'frozen', items: 4, resumed: true });
    expect(sent).toHaveLength(3);
    expect(sent).not.toContain(stored[0]);
    expect((await readBack(made.store, await onlyDataset(made.store))).size).toBe(4);
    expect((await sh('ls; ls staging; cat results/data/new')).stdout).toBe(
      'results\nstaging\nanother\nmore\n',
    );
  });

  test('mv onto the root freezes, under a new name if it has one', async () => {
    const { made, mount, sh, status } = await mounting();
    await mount();
    await sh(`cp -r '${await folderOf(FILES)}' staging/`);
    // Before 1970, and after what 64 bits of nanoseconds can hold; the local disk may have another time for it.
    await sh(
      "touch -d '@-86400.25' staging/results/a && touch -d '@10413792000.5' staging/results/b/c && sync",
    );
    const times = async (place: string) => (await sh(`cd ${place} && stat -c %.6Y a b/c`)).stdout;
    const staged = await times('staging/results');
    expect(staged).toMatch(/^-86400\.250000\n/);
    expect(await sh('mv staging/results ./renamed')).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await times('renamed/data')).toBe(staged);
    expect((await sh('ls; cat renamed/data/a; ls staging')).stdout).toBe('renamed\nstaging\naaa');
    expect((await onlyDataset(made.store)).admin).toMatchObject({ name: 'renamed', type: 'dataset' });
    await sh('mkdir staging/empty && ln -s /etc staging/empty/out');
    const refused = await sh('mv staging/empty .');
    expect(refused).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/Operation not permitted$/m),
    });
    expect((await sh('ls staging')).stdout).toBe('empty\n');
    expect((await status()).staging).toMatchObject([
      {
        name: 'empty',
        state: 'failed',
        reason: expect.stringContaining('out is a symbolic link that leaves'),
      },
    ]);
  });

  test('kept, and discarded', async () => {
    const { made, user, mount, sh, status, staged } = await mounting();
    await mount();
    await sh(`cp -r '${await folderOf(FILES)}' staging/`);
    expect(await user.run('freeze', staged('results'), '--keep-staging')).toMatchObject({ exitCode: 0 });
    expect((await status()).staging).toMatchObject([{ name: 'results', state: 'frozen' }]);
    expect(await user.run('discard', staged('results'))).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/Remove .*results with all that is in it\?.*--yes/),
    });
    expect(await user.run('discard', staged('results'), '--yes')).toMatchObject({ exitCode: 0 });
    expect((await sh('ls; ls staging')).stdout).toBe('results\nstaging\n');
    expect((await onlyDataset(made.store)).admin.type).toBe('dataset');
    expect(await user.run('discard', staged('results'), '--yes')).toMatchObject({ exitCode: 1 });
    expect(await user.run('freeze', join(staged('results'), 'b'))).toMatchObject({ exitCode: 1 });
  });

  test('what a freeze put into the cache says nothing about the bucket', async () => {
    const { made, user, mount, sh, path } = await mounting();
    await mount();
    const files = { 'small.txt': 'small', 'large.bin': randomBytesOf(1, 700_000) };
    await sh(`cp -r '${await folderOf(files)}' staging/ && mv staging/results .`);
    const dataset = `${BUCKET}/results`;
    const presence = async () =>
      JSON.parse((await user.run('warm', '--check', '--json', dataset)).stdout) as unknown;
    await expect.poll(presence).toMatchObject([{ cachedBytes: 700_005, localBytes: 700_005 }]);
    expect(await user.run('verify', '--cached', dataset)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('2 of 2 items are in the cache'),
    });
    expect((await user.run('warm', '--check', dataset)).stdout).toContain('not read from the bucket since');
    const { objects } = await made.store.listPage({ prefix: '' });
    for (const { key, size } of objects.filter(({ key: name }) => name.includes('/data/'))) {
      if (size > 100) await made.store.put(key, Buffer.alloc(size));
      else await made.store.delete(key);
    }
    for (const target of [dataset, join(path, 'results')])
      expect(await user.run('verify', target)).toMatchObject({
        exitCode: 1,
        stdout: expect.stringMatching(
          /large\.bin: the content has MD5 .*the disk cache has the right content/,
        ),
        stderr: expect.stringContaining('2 of 2 items are not what the manifest says'),
      });
    await user.run('warm', '--evict', dataset);
    expect(await user.run('warm', dataset)).toMatchObject({ exitCode: 1 });
  });

  test('killed with SIGKILL at any request, and mounted again: a rerun ends in the same, one, whole dataset', async () => {
    let kills = 0;
    let cleaned = 0;
    const source = await folderOf(FILES);
    for (let at = 1; ; at += KILL_STEP) {
      const { made, user, mount, sh, staged, close } = await mounting();
      const pid = await mount('--refresh', '3600');
      await sh(`ls && cp -r '${source}' staging/`);
      let requests = 0;
      let killed = false;
      made.intercept = async ({ headers }) => {
        if (!headers.authorization?.includes(`Credential=${OWNER.accessKeyId}/`)) return undefined;
        requests += 1;
        if (requests === at && !killed) {
          killed = true;
          process.kill(pid, 'SIGKILL');
        }
        // What arrives after the kill was on its way before it; at every other kill it is lost.
        if (killed && (requests > at || at % 2 === 0)) return { kind: 'reset' };
        return undefined;
      };
      const frozen = await user.run('freeze', staged('results'));
      if (!killed) {
        expect(frozen).toMatchObject({ exitCode: 0 });
        break;
      }
      kills += 1;
      expect(frozen.exitCode).toBe(1);
      made.intercept = async () => undefined;
      await mount();
      const complete = new Set((await made.store.listPage({ prefix: '' })).objects.map(({ key }) => key));
      const again: string[] = [];
      made.intercept = async ({ operation, key }) => {
        if (operation === 'PutObject' && key.includes('/data/') && complete.has(key)) again.push(key);
        return undefined;
      };
      let entry = await onlyDataset(made.store).catch(() => undefined);
      const begun = entry?.uuid;
      const where = `killed at request ${at}`;
      if (entry?.admin.type === 'dataset') {
        // Committed: the mount cleans up by itself.
        await expect.poll(async () => (await sh('ls staging')).stdout, { timeout: 10_000 }).toBe('');
        cleaned += 1;
      } else {
        expect((await sh('cat staging/results/b/c')).stdout, where).toBe('ccc');
        const rerun = await user.run('freeze', staged('results'));
        expect(rerun, `${where}: ${rerun.stderr}`).toMatchObject({ exitCode: 0 });
      }
      entry = await onlyDataset(made.store);
      if (begun !== undefined) expect(entry.uuid, where).toBe(begun);
      expect([...(await readBack(made.store, entry)).keys()].toSorted(), where).toEqual([
        'a',
        'b/c',
        'd.bin',
      ]);
      expect(again, where).toEqual([]);
      expect((await made.store.listPage({ prefix: '' })).objects, where).toHaveLength(1 + 5 + 3);
      expect((await sh('ls; ls staging')).stdout, where).toBe('results\nstaging\n');
      await close();
    }
    expect(kills).toBeGreaterThanOrEqual(12 / KILL_STEP);
    if (KILL_STEP === 1) expect(cleaned).toBeGreaterThanOrEqual(1);
  }, 600_000);
});
