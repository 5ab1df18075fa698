import { execFile } from 'node:child_process';
import { existsSync, renameSync, symlinkSync } from 'node:fs';
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DatasetReader } from '../../src/ecs/dtool/dataset-reader.ts';
import { readJournals } from '../../src/freeze/journal.ts';
import type { OpenableFile } from '../../src/freeze/file-hasher.ts';
import { MemoryObjectStore } from '../support/memory-object-store.ts';
import {
  base64,
  folderOf,
  freezeTo,
  inlineHasher,
  onlyDataset,
  readBack,
  refusalOf,
  scratch,
  writeTree,
} from './support.ts';

/** It holds any time that the kernel has; other file systems, fewer. */
const noTmpfs = !existsSync('/dev/shm');

describe('a plain folder', () => {
  test('every file is an item, README.yml the README', async () => {
    const store = new MemoryObjectStore();
    const longName = 'n'.repeat(250);
    const files = {
      'naïve file (1).txt': 'a',
      '🧬/😀.bin': Buffer.from([0, 255]),
      [longName]: 'long',
      empty: '',
      'sub/README.yml': 'an: item\n',
      'back\\slash\ttab': 'x',
      'large.bin': Buffer.alloc(3 << 20, 'large'),
    };
    const directory = await folderOf({ ...files, 'README.yml': '---\ndescription: mine\n' });
    await utimes(join(directory, 'empty'), 1_700_000_000.25, 1_700_000_000.25);
    const result = await freezeTo(store, directory, { writePrefix: 'u/ada/' });
    expect(result).toMatchObject({ outcome: 'frozen', name: 'results', items: 7, uploadedItems: 7 });
    const entry = await onlyDataset(store);
    expect(entry.keyPrefix).toBe(`u/ada/${result.uuid}/`);
    expect(entry.admin).toMatchObject({ type: 'dataset', name: 'results', creatorUsername: 'ada' });
    expect(entry.admin.frozenAt).toBeGreaterThanOrEqual(entry.admin.createdAt ?? Infinity);
    const expected = Object.entries(files).map(([relpath, body]) => [relpath, base64(body)] as const);
    expect(await readBack(store, entry)).toEqual(new Map(expected));
    expect(store.peek(`${entry.keyPrefix}README.yml`)?.toString()).toBe('---\ndescription: mine\n');
    const { items } = await new DatasetReader(store, entry).manifest();
    expect([...items].find(({ relpath }) => relpath === 'empty')?.timestamp).toBe(1_700_000_000.25);
    expect(
      store.keys.map((key) => key.replace(entry.uuid, 'U')).filter((key) => !key.includes('/data/')),
    ).toEqual([
      'dtool-U',
      ...['README.txt', 'README.yml', 'dtool', 'manifest.json', 'structure.json'].map((n) => `u/ada/U/${n}`),
    ]);
  });

  test('property: what any tree of files holds is read back', async () => {
    const name = fc
      .string({
        unit: fc.constantFrom('a', 'ä', 'a\u0308', '😀', ' ', '.', '\\', '%', '+', '\t', '"', '\u007f'),
        minLength: 1,
        maxLength: 6,
      })
      .filter((text) => text !== '.' && text !== '..');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));
    const tree = fc.dictionary(path, fc.uint8Array({ maxLength: 64 }), { maxKeys: 8, noNullPrototype: true });
    await fc.assert(
      fc.asyncProperty(tree, fc.constantFrom('', 'u/ada/'), async (files, writePrefix) => {
        const paths = Object.keys(files);
        fc.pre(!paths.some((one) => paths.some((other) => other.startsWith(`${one}/`))));
        const directory = await folderOf(
          Object.fromEntries(paths.map((relpath) => [relpath, Buffer.from(files[relpath] ?? [])])),
        );
        const store = new MemoryObjectStore();
        await freezeTo(store, directory, { writePrefix });
        const found = await readBack(store, await onlyDataset(store));
        expect(found).toEqual(new Map(paths.map((relpath) => [relpath, base64(files[relpath] ?? '')])));
      }),
      { numRuns: 40 },
    );
  });

  test('links that stay inside are followed, empty directories told of', async () => {
    const directory = await folderOf({ 'run-1/out.csv': '1,2\n' });
    await symlink('run-1', join(directory, 'latest'));
    await symlink('run-1/out.csv', join(directory, 'link.csv'));
    await mkdir(join(directory, 'void'));
    const store = new MemoryObjectStore();
    const { warnings } = await freezeTo(store, directory);
    expect(warnings.map(({ path }) => path).toSorted()).toEqual(['README.yml', 'void/']);
    const found = await readBack(store, await onlyDataset(store));
    expect([...found.keys()].toSorted()).toEqual(['latest/out.csv', 'link.csv', 'run-1/out.csv']);
  });

  test('links back into the folder by its own path, and by way of the directory above, are followed', async () => {
    const directory = await folderOf({ 'run-1/out.csv': 'data' });
    await symlink(join(directory, 'run-1'), join(directory, 'absolute'));
    await symlink('../results/run-1/../run-1', join(directory, 'around'));
    const store = new MemoryObjectStore();
    await freezeTo(store, directory);
    const found = await readBack(store, await onlyDataset(store));
    expect([...found.keys()].toSorted()).toEqual(['absolute/out.csv', 'around/out.csv', 'run-1/out.csv']);
  });

  test('metadata is read through no link, and a FIFO in its place is refused', async () => {
    const store = new MemoryObjectStore();
    const secret = join(await scratch(), 'secret.yml');
    await writeFile(secret, 'key: secret');
    const link = 'is a symbolic link, and metadata is read through none; put a copy in its place';
    const directory = await folderOf({ 'data.csv': 'data', 'real.yml': 'description: inside' });
    for (const target of [secret, 'real.yml', 'nowhere']) {
      await symlink(target, join(directory, 'README.yml'));
      expect(await refusalOf(freezeTo(store, directory))).toEqual([`README.yml ${link}`]);
      await rm(join(directory, 'README.yml'));
    }
    await promisify(execFile)('mkfifo', [join(directory, 'README.yml')]);
    expect(await refusalOf(freezeTo(store, directory))).toEqual([
      "README.yml can't be read: it is no regular file",
    ]);
    await rm(join(directory, 'README.yml'));
    await symlink(dirname(secret), join(directory, '.dtool'));
    expect(await refusalOf(freezeTo(store, directory))).toEqual([`.dtool ${link}`]);
    expect(store.requests.put).toBe(0);
  });

  test.each(['file', 'directory'])(
    'nothing of a %s swapped for a link out of the folder is uploaded',
    async (what) => {
      const directory = await folderOf({ 'sub/a.txt': 'harmless', 'sub/b.bin': Buffer.alloc(2 << 20, 1) });
      const outside = await scratch();
      await writeTree(outside, { 'a.txt': 'secret 8', 'b.bin': Buffer.alloc(2 << 20, 2) });
      const store = new MemoryObjectStore();
      let isSwapped = false;
      const onProgress = ({ phase }: { readonly phase: string }): void => {
        if (phase !== 'uploading' || isSwapped) return;
        isSwapped = true;
        const names = what === 'file' ? ['sub/a.txt', 'sub/b.bin'] : ['sub'];
        for (const name of names) {
          renameSync(join(directory, name), join(directory, `${basename(name)}-was`));
          symlinkSync(join(outside, name.slice(4)), join(directory, name));
        }
      };
      const outcome = await freezeTo(store, directory, { onProgress }).catch((error: unknown) => error);
      expect(isSwapped).toBe(true);
      if (what === 'file') expect(String(outcome)).toMatch(/changed while it was frozen/);
      for (const { key } of (await store.listPage({ prefix: '' })).objects)
        expect(store.peek(key)?.includes('secret')).toBe(false);
    },
  );

  test('the README is made from the template of the user, or has the usual keys', async () => {
    const store = new MemoryObjectStore();
    const readme = async (readmeTemplatePath?: string): Promise<string | undefined> => {
      const directory = await folderOf({ a: 'a' });
      const user = { username: 'ada', fullName: 'Ada: "E"', email: undefined, readmeTemplatePath };
      const { uuid } = await freezeTo(store, directory, { user, name: 'made' });
      return store.peek(`${uuid}/README.yml`)?.toString();
    };
    const today = new Date().toISOString().slice(0, 10);
    expect(await readme()).toBe(
      '---\ndescription: made\nproject: ""\nconfidential: false\npersonally_identifiable_information: false\n' +
        `owners:\n  - name: 'Ada: "E"'\n    email: ""\n    username: ada\ncreation_date: ${today}\n`,
    );
    const template = join(await scratch(), 'template.yml');
    await writeFile(template, 'who: {username}\nmail: {DTOOL_USER_EMAIL}\nmap: {{a: 1}}\nday: {date}\n');
    expect(await readme(template)).toBe(`who: ada\nmail: you@example.com\nmap: {a: 1}\nday: ${today}\n`);
    await writeFile(template, 'who: {nobody}\n');
    expect(await refusalOf(readme(template))).toEqual([expect.stringContaining('has {nobody}')]);
    expect(await refusalOf(readme(`${template}.missing`))).toEqual([
      expect.stringContaining("can't be read"),
    ]);
  });

  test('everything that is wrong is told at once, and nothing is uploaded', async () => {
    const directory = await folderOf({
      'line\nbreak': 'x',
      'README.yml': 'a: [1\nb: }',
      '.dtool/junk': 'x',
      'ok.txt': 'fine',
    });
    const deep = join(directory, ...Array.from({ length: 6 }, () => 'd'.repeat(250)));
    await mkdir(deep, { recursive: true });
    await writeFile(join(deep, 'f'), 'x');
    await writeFile(Buffer.concat([Buffer.from(`${directory}/bad-`), Buffer.from([0xff])]), 'x');
    await symlink('nowhere', join(directory, 'dangling'));
    await symlink('/etc/hostname', join(directory, 'outward'));
    await symlink('.', join(directory, 'loop'));
    const socket = createServer().listen(join(directory, 'socket'));
    onTestFinished(() => void socket.close());
    const store = new MemoryObjectStore();
    const problems = await refusalOf(freezeTo(store, directory, { name: 'not valid' }));
    const expected = [
      /^--name "not valid" is no name for dtool/,
      /^\.dtool is the place of dtool's metadata/,
      /^README\.yml is not YAML/,
      /^bad-\\xff has a name that is not UTF-8/,
      /^dangling is a symbolic link that leads nowhere/,
      /^d+\/.*\/f has a path over 1500 bytes/s,
      /^line\nbreak has a line break/,
      /^loop is a symbolic link to a directory that it is in/,
      /^outward is a symbolic link that leaves the directory/,
      /^socket is a socket/,
    ];
    expect(problems).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
    expect(store.requestCount).toBe(0);
    expect((await readdir(join(dirname(directory), 'journals'))).filter((n) => n.endsWith('.json'))).toEqual(
      [],
    );
  });

  test.skipIf(noTmpfs)(
    `times that dtool can hold are kept, and others refused by name${noTmpfs ? ' [skipped: no /dev/shm]' : ''}`,
    async () => {
      const directory = join(await scratch('/dev/shm'), 'results');
      // By GNU touch, to what dtool gives for each: datetime.utcfromtimestamp(os.stat(path).st_mtime).
      const times: Readonly<Record<string, readonly [touch: string, timestamp: number]>> = {
        before: ['-1.5', -1.5],
        first: ['-62135596800', -62_135_596_800],
        micro: ['-0.000001', -0.000001],
        exact: ['9000000000.123457', 9_000_000_000.123457],
        far: ['9223372037.25', 9_223_372_037.25],
        last: ['253402300799', 253_402_300_799],
      };
      for (const [name, [time]] of Object.entries(times)) {
        await writeTree(directory, { [name]: name });
        await promisify(execFile)('touch', ['-d', `@${time}`, join(directory, name)]);
      }
      const store = new MemoryObjectStore();
      await freezeTo(store, directory, { journals: join(await scratch(), 'journals') });
      const { items } = await new DatasetReader(store, await onlyDataset(store)).manifest();
      expect(Object.fromEntries(Array.from(items, ({ relpath, timestamp }) => [relpath, timestamp]))).toEqual(
        Object.fromEntries(Object.entries(times).map(([name, [, timestamp]]) => [name, timestamp])),
      );
      for (const time of ['-62135596801', '253402300800', '9000000000000000000'])
        await promisify(execFile)('touch', ['-d', `@${time}`, join(directory, time)]);
      const fresh = new MemoryObjectStore();
      const refused = await refusalOf(freezeTo(fresh, directory, { journals: join(await scratch(), 'j') }));
      expect(refused).toEqual([
        expect.stringContaining('-62135596801 has a time before the year 1 or after 9999'),
        expect.stringContaining('253402300800 has a time before the year 1 or after 9999'),
        expect.stringContaining('9000000000000000000 has a time before the year 1 or after 9999'),
      ]);
      expect(fresh.requests.put).toBe(0);
    },
  );

  test('a path of 1,500 bytes goes, and a name of the folder that dtool refuses does not', async () => {
    const store = new MemoryObjectStore();
    const relpath = [...Array.from({ length: 5 }, () => 'd'.repeat(249)), 'e'.repeat(250)].join('/');
    expect(relpath).toHaveLength(1_500);
    await freezeTo(store, await folderOf({ [relpath]: 'x' }));
    expect([...(await readBack(store, await onlyDataset(store))).keys()]).toEqual([relpath]);
    const directory = join(await scratch(), 'mit Umlaut ä');
    await writeTree(directory, { a: 'a' });
    expect(await refusalOf(freezeTo(store, directory))).toEqual([expect.stringContaining('--name')]);
    expect(await freezeTo(store, directory, { name: 'umlaut' })).toMatchObject({ name: 'umlaut' });
  });

  test('files too deep for a path are refused by name', async () => {
    const directory = await folderOf({ a: 'a' });
    const half = Array.from({ length: 10 }, () => 'd'.repeat(200)).join('/');
    await writeTree(directory, { [`${half}/a`]: 'a', [`other/${half}/a`]: 'a' });
    // Together they are longer than what a system call takes.
    await rename(join(directory, 'other'), join(directory, half, 'other'));
    await mkdir(join(directory, 'third', half), { recursive: true });
    await rename(join(directory, 'third'), join(directory, half, 'third'));
    const problems = await refusalOf(freezeTo(new MemoryObjectStore(), directory));
    expect(problems).toEqual(
      [`${half}/a`, `${half}/other/${half}/a`].map((path) =>
        expect.stringMatching(new RegExp(`^${path} has a path over 1500 bytes`)),
      ),
    );
  });

  test('a dry run makes no request and leaves nothing behind', async () => {
    const directory = await folderOf({ a: 'a' });
    const store = new MemoryObjectStore();
    const result = await freezeTo(store, directory, { dryRun: true });
    expect(result).toMatchObject({ outcome: 'dry-run', items: 1, bytes: 1, uuid: undefined });
    expect(store.requestCount).toBe(0);
    await expect(stat(join(dirname(directory), 'journals'))).rejects.toThrow('ENOENT');
  });

  test('1,000 small items: at most 1,020 requests', async () => {
    const files = Array.from(
      { length: 1_000 },
      (_, index) => [`d${index % 9}/item-${index}`, `${index}`] as const,
    );
    const store = new MemoryObjectStore();
    await freezeTo(store, await folderOf(Object.fromEntries(files)));
    expect(await readBack(store, await onlyDataset(store))).toHaveProperty('size', 1_000);
    expect(store.requests.put).toBe(1_007);
    expect(store.requestCount - store.requests.get).toBeLessThanOrEqual(1_020 - 1);
  });

  test('a file that changes meanwhile is refused and named; then it goes on', async () => {
    const directory = await folderOf({ 'a.bin': Buffer.alloc(2 << 20, 1), 'b.txt': 'b' });
    const store = new MemoryObjectStore();
    let grown = false;
    const hasher = {
      ...inlineHasher,
      md5: async ({ path }: OpenableFile) => {
        if (!grown) await writeFile(path, Buffer.alloc(2 << 20, 2));
        grown = true;
        return 'd41d8cd98f00b204e9800998ecf8427e';
      },
    };
    await expect(freezeTo(store, directory, { hasher })).rejects.toThrow(
      /a\.bin changed while it was frozen/,
    );
    expect((await onlyDataset(store)).admin.type).toBe('protodataset');
    const { uuid, resumed } = await freezeTo(store, directory);
    const entry = await onlyDataset(store);
    expect([entry.uuid, entry.admin.type, resumed]).toEqual([uuid, 'dataset', true]);
    expect((await readBack(store, entry)).get('a.bin') === base64(Buffer.alloc(2 << 20, 2))).toBe(true);
  });

  test('the journal is private and readable', async () => {
    const directory = await folderOf({ a: 'a' });
    const { uuid } = await freezeTo(new MemoryObjectStore(), directory);
    const journals = join(dirname(directory), 'journals');
    const [name = '', ...others] = await readdir(journals);
    expect(others).toEqual([]);
    expect((await stat(join(journals, name))).mode & 0o777).toBe(0o600);
    expect((await stat(journals)).mode & 0o777).toBe(0o700);
    expect(JSON.parse(await readFile(join(journals, name), 'utf8'))).toMatchObject({ state: 'frozen', uuid });
    await writeFile(join(journals, name), '{');
    await expect(freezeTo(new MemoryObjectStore(), directory)).rejects.toThrow(
      /the journal .* can't be read/,
    );
  });

  test('a journal that others may have put there is not believed', async () => {
    const directory = await folderOf({ a: 'a' });
    const store = new MemoryObjectStore();
    await freezeTo(store, directory);
    const journals = join(dirname(directory), 'journals');
    await chmod(journals, 0o777);
    await expect(freezeTo(store, directory, { dryRun: true })).rejects.toThrow(
      `everybody may write to ${journals}`,
    );
    const problems: unknown[] = [];
    expect(await readJournals(journals, (error) => problems.push(error))).toEqual([]);
    expect(String(problems)).toContain(`everybody may write to ${journals}`);
    await chmod(journals, 0o700);
    expect(await readJournals(journals, (error) => problems.push(error))).toHaveLength(1);
  });

  test('once more: nothing when nothing changed, another dataset when something did', async () => {
    const directory = await folderOf({ a: 'a', b: 'b' });
    const store = new MemoryObjectStore();
    const first = await freezeTo(store, directory);
    const puts = store.requests.put;
    expect(await freezeTo(store, directory)).toMatchObject({ outcome: 'already-frozen', uuid: first.uuid });
    expect(store.requests.put).toBe(puts);
    await writeFile(join(directory, 'b'), 'B');
    const second = await freezeTo(store, directory);
    expect(second).toMatchObject({ outcome: 'frozen', resumed: false });
    expect(second.uuid).not.toBe(first.uuid);
    expect(store.peek(`${first.uuid}/data/e9d71f5ee7c92d6dc9e92ffdad17b8bd49418f98`)?.toString()).toBe('b');
  });

  test('an unreadable file is refused', async () => {
    if (process.getuid?.() === 0) return;
    const directory = await folderOf({ a: 'a' });
    await chmod(join(directory, 'a'), 0);
    expect(await refusalOf(freezeTo(new MemoryObjectStore(), directory))).toEqual([
      expect.stringMatching(/^a can't be read/),
    ]);
  });

  test('no directory: a plain message', async () => {
    const directory = await folderOf({ a: 'a' });
    await expect(freezeTo(new MemoryObjectStore(), join(directory, 'a'))).rejects.toThrow(
      /it is no directory/,
    );
    await rm(directory, { recursive: true });
    await expect(freezeTo(new MemoryObjectStore(), directory)).rejects.toThrow(/can't be frozen: ENOENT/);
  });
});
