import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { datasetObjects } from '../../src/demo/dataset-objects.ts';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { folderOf } from '../freeze/support.ts';
import { datasetOf } from '../support/datasets.ts';
import { mountObstacle, User } from '../support/mounted.ts';
import { configurationOf } from '../support/test-bucket.ts';
import { allWritten } from '../support/written.ts';

/** All commands of the processes here, as `ps` shows them, and their environments: the keys are in a file. */
async function commandLines(): Promise<string> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = pids
    .flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`])
    .map(async (path) => readFile(path, 'utf8').catch(() => ''));
  return (await Promise.all(lines)).join('\n');
}

test.skipIf(mountObstacle !== undefined)(
  'a secret key is in nothing that is written, said or shown, whatever goes wrong',
  { timeout: 120_000 },
  async () => {
    const id = randomBytes(12).toString('hex');
    const [secret, wrong] = [`SECRET-${id}`, `WRONG-${id}`];
    const marks = [id, ...[secret, wrong].map((key) => Buffer.from(key).toString('base64').slice(0, -4))];
    const heard = new Map<string, string | Buffer>();
    let step = 'start';
    const server = await startS3Server({
      users: [{ name: 'tester', accessKeyId: 'tester', secretAccessKey: secret }],
      buckets: ['test-bucket'],
      // Whoever has a request under way is running now.
      intercept: async ({ operation }) => {
        const name = `processes during ${step}, ${operation}`;
        if (!heard.has(name)) heard.set(name, await commandLines());
        return undefined;
      },
    });
    for (const { key, body, metadata } of datasetObjects(datasetOf('good', { 'file.txt': 'good' })))
      await server.putObject('test-bucket', key, body, metadata ? { metadata } : {});

    const user = await User.create();
    const path = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-test-at-'));
    const configure = async (secretAccessKey: string, endpoint = server.endpoint): Promise<void> => {
      const directory = join(user.home, '.config/dtool');
      await mkdir(directory, { recursive: true });
      const keys = { accessKeyId: 'tester', secretAccessKey };
      const file = join(directory, 'dtool.json');
      await writeFile(`${file}.new`, JSON.stringify(configurationOf('test-bucket', endpoint, keys)), {
        mode: 0o600,
      });
      await rename(`${file}.new`, file);
    };
    const run = async (exitCode: number, ...args: readonly string[]): Promise<void> => {
      step = args.join(' ');
      const result = await user.run(...args);
      heard.set(`stdout of ${step}`, result.stdout);
      heard.set(`stderr of ${step}`, result.stderr);
      expect({ step, exitCode: result.exitCode, stderr: result.stderr }).toMatchObject({ exitCode });
    };
    const sh = async (command: string): Promise<void> => {
      step = command;
      const { stdout, stderr, exitCode } = await user.exec('bash', '-c', `cd '${path}' && ${command}`);
      heard.set(`output of ${command}`, stdout + stderr);
      expect({ command, exitCode, stderr }).toMatchObject({ exitCode: 0 });
    };
    const ask = async (socket: string, question: string): Promise<void> => {
      const connection = connect(socket);
      connection.write(`${question}\n`);
      const answer = await text(connection);
      expect(answer).not.toBe('');
      heard.set(`answer to ${question}`, answer);
    };

    try {
      for (const level of ['trace']) {
        await configure(secret);
        await run(0, 'mount', 'test-bucket', path, '--log-level', level, '--metrics-port', '0');
        await sh('cat good/data/file.txt');
        await sh(
          `mkdir staging/kept staging/set-${level} && echo x | tee staging/kept/f staging/set-${level}/f`,
        );
        await run(0, 'freeze', join(path, 'staging', `set-${level}`));
        await sh('ln -s /etc/hostname staging/kept/link');
        await run(1, 'freeze', join(path, 'staging/kept'));
        const folder = await folderOf({ a: 'aaa' });
        await run(0, 'freeze', folder, '--bucket', 'test-bucket', '--name', `by-bucket-${level}`);
        await rm(folder, { recursive: true });
        await run(0, 'ls', 'test-bucket');
        await run(0, 'ls', '--json');
        await run(0, 'status');
        await run(0, 'status', '--json');
        await run(0, 'stats', path, '--once', '--interval', '0.1');
        await run(0, 'stats', path, '--once', '--interval', '0.1', '--json');
        const [url = ''] = /http:\S+\/metrics/.exec(String(heard.get('stdout of status'))) ?? [];
        const metrics = await (await fetch(url)).text();
        expect(metrics).toContain('bucket="test-bucket"');
        heard.set('metrics', metrics);
        await user
          .run('doctor', '--write')
          .then(({ stdout, stderr }) => heard.set('doctor', stdout + stderr));
        const sockets = join(user.home, 'dtool-ecs-mount');
        const [socket = ''] = (await readdir(sockets)).filter((name) => name.endsWith('.sock'));
        for (const command of ['status', 'refresh', 'environment', 'freeze', 'discard'])
          await ask(join(sockets, socket), JSON.stringify({ command, args: { bucket: 'test-bucket' } }));
        await ask(join(sockets, socket), 'no JSON');

        await configure(wrong);
        await run(1, 'ls', 'test-bucket');
        await run(1, 'freeze', await folderOf({ a: 'aaa' }), '--bucket', 'test-bucket');
        await run(1, 'doctor');
        await ask(join(sockets, socket), JSON.stringify({ command: 'refresh' }));
        await configure(secret, 'http://127.0.0.1:1');
        await run(1, 'ls', 'test-bucket');
        await run(1, 'doctor', '--json');
        await writeFile(join(user.home, '.config/dtool/dtool.json'), `{"DTOOL_A": "${secret}",,}`);
        await run(1, 'ls', 'test-bucket');
        await configure(secret);
        await run(0, 'discard', join(path, 'staging/kept'), '--yes');
        heard.set('ps', (await user.exec('ps', '-ww', '-eo', 'args')).stdout);
        await run(0, 'umount', path);
      }
      await configure(wrong);
      await run(1, 'mount', 'test-bucket', path, '--log-level', 'trace');
      await configure(secret);

      const files = await allWritten(user.home);
      const kinds = {
        log: /^state\/.*\.log$/,
        journal: /^state\/.*\/freeze\//,
        cache: /^cache\//,
        staging: /staging/,
      };
      for (const [kind, pattern] of Object.entries(kinds))
        expect(files.filter((file) => pattern.test(file.path)).length, kind).toBeGreaterThan(0);
      expect(
        files.some(({ path: at, content }) => at.endsWith('.log') && content.includes('store request')),
      ).toBe(true);
      for (const file of files) heard.set(`file ${file.path}`, file.content);
      const configuration = heard.get('file .config/dtool/dtool.json');
      heard.delete('file .config/dtool/dtool.json');
      const telling = (content: string | Buffer): boolean => marks.some((mark) => content.includes(mark));
      // The search finds it where it is.
      expect(telling(configuration ?? '')).toBe(true);
      expect([...heard].filter(([, content]) => telling(content)).map(([name]) => name)).toEqual([]);
      const during = [...heard.keys()].filter((name) => name.startsWith('processes'));
      for (const command of ['mount', 'freeze', 'ls', 'doctor'])
        expect(
          during.some((name) => name.includes(`during ${command}`)),
          command,
        ).toBe(true);
    } finally {
      await user.run('umount', path);
      await rm(path, { recursive: true });
      await user.remove();
      await server.close();
    }
  },
);
