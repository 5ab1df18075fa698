import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
  closeSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * Freezes beside plain uploads with the SDK, whole processes against the demo's server, in one run:
 * `npm run bench:freeze [-- LARGE_MIB ITEMS]`. Prints a table in Markdown; the ratio is the upload's time over the
 * freeze's. The staged file is one that was copied into a mount a few seconds before; there the memory is the mount's.
 * Needs 3 GiB in the temporary directory, and /dev/fuse for the staged file.
 */
const [largeMiB = 1024, items = 100_000] = process.argv.slice(2).map(Number);
const ROUNDS = 3;
const HASHED_AFTER_MS = 8_000;
const CLI = resolve(import.meta.dirname, '../../../dist/cli.js');
const PLAIN_UPLOAD = resolve(import.meta.dirname, 'plain-upload.js');
const BUCKET = 'lab';

interface Run {
  readonly seconds: number;
  /** The most memory that the process had, in MiB. */
  readonly rssMiB: number;
}

const directory = mkdtempSync(join(tmpdir(), 'bench-freeze-'));
const server = spawn(process.execPath, [CLI, 'demo', '--server-only'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  const settings = await settingsOf(server);
  console.log('| | freeze | plain upload | ratio | memory of the freeze |\n|---|---|---|---|---|');
  const large = join(directory, 'large');
  mkdirSync(large);
  writeRandom(join(large, 'large.bin'), largeMiB);
  const freezes: Run[] = [];
  const staged: Run[] = [];
  const mount = await mounted(settings);
  const uploads: Run[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    // Whoever comes first in a round may find the caches cold.
    const inTurn = [
      async () => uploads.push(await upload(join(large, 'large.bin'), settings, round)),
      async () => freezes.push(await freeze(large, `large-${round}`, settings)),
    ];
    // Copied before anything is timed, so that the mount has hashed it when it comes to that.
    if (mount) inTurn.push(async () => staged.push(await freezeStaged(mount, `staged-${round}`)));
    if (mount) cpSync(large, join(mount.path, 'staging', `staged-${round}`), { recursive: true });
    await sleep(HASHED_AFTER_MS);
    for (const run of round % 2 === 0 ? inTurn : inTurn.toReversed()) await run();
  }
  row(`${largeMiB} MiB in one file`, median(freezes), median(uploads));
  if (mount) {
    row(`${largeMiB} MiB in one file, staged`, median(staged), median(uploads));
    await mount.end();
  }

  const many = join(directory, 'many');
  for (let item = 0; item < items; item += 1) {
    const folder = join(many, `d${item % 100}`);
    if (item < 100) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `item-${item}.txt`), `item ${item}\n`);
  }
  row(`${items} small files`, await freeze(many, 'many', settings));
} finally {
  server.kill('SIGTERM');
  await once(server, 'exit');
  rmSync(directory, { recursive: true });
}

function row(title: string, frozen: Run, uploaded?: Run): void {
  const ratio = uploaded ? (uploaded.seconds / frozen.seconds).toFixed(2) : '-';
  const plain = uploaded ? `${uploaded.seconds.toFixed(2)} s` : '-';
  console.log(
    `| ${title} | ${frozen.seconds.toFixed(2)} s | ${plain} | ${ratio} | ${frozen.rssMiB.toFixed(0)} MiB |`,
  );
}

function median(runs: readonly Run[]): Run {
  const sorted = runs.toSorted((a, b) => a.seconds - b.seconds);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (!middle) throw new Error('nothing was run');
  return { seconds: middle.seconds, rssMiB: Math.max(...runs.map(({ rssMiB }) => rssMiB)) };
}

async function freeze(folder: string, name: string, settings: NodeJS.ProcessEnv): Promise<Run> {
  const args = [CLI, 'freeze', folder, '--bucket', BUCKET, '--name', name];
  return timed(args, { ...settings, XDG_STATE_HOME: join(directory, 'state') });
}

async function upload(file: string, settings: NodeJS.ProcessEnv, round: number): Promise<Run> {
  const endpoint = settings[`DTOOL_ECS_ENDPOINT_${BUCKET}`] ?? '';
  return timed([PLAIN_UPLOAD, file, endpoint, BUCKET, `plain-${round}`], {
    AWS_ACCESS_KEY_ID: settings[`DTOOL_ECS_ACCESS_KEY_ID_${BUCKET}`],
    AWS_SECRET_ACCESS_KEY: settings[`DTOOL_ECS_SECRET_ACCESS_KEY_${BUCKET}`],
  });
}

/** A mount in the foreground. */
interface Mount {
  readonly path: string;
  readonly child: ChildProcess;
  readonly env: NodeJS.ProcessEnv;
  end(): Promise<void>;
}

/** @returns undefined where nothing can be mounted */
async function mounted(settings: NodeJS.ProcessEnv): Promise<Mount | undefined> {
  if (!existsSync('/dev/fuse')) return undefined;
  const path = join(directory, 'mount');
  mkdirSync(path);
  const env = { ...settings, XDG_STATE_HOME: join(directory, 'state'), XDG_RUNTIME_DIR: directory };
  const child = spawn(
    process.execPath,
    [CLI, 'mount', BUCKET, path, '--foreground', '--log-level', 'error'],
    {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(child.stdout, 'data');
  const end = async (): Promise<void> => {
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  return { path, child, env, end };
}

async function freezeStaged({ path, child, env }: Mount, name: string): Promise<Run> {
  const { seconds } = await timed([CLI, 'freeze', join(path, 'staging', name)], env);
  return { seconds, rssMiB: peakMiB(child) };
}

/** Runs a program of ours to its end. */
async function timed(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Run> {
  const start = performance.now();
  const child = spawn(process.execPath, args, {
    env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  let rssMiB = 0;
  const watch = setInterval(() => {
    rssMiB = Math.max(rssMiB, peakMiB(child));
  }, 50);
  await once(child, 'close');
  clearInterval(watch);
  if (child.exitCode !== 0) throw new Error(`${args.join(' ')}: ${errors}`);
  return { seconds: (performance.now() - start) / 1000, rssMiB };
}

/** VmHWM of proc(5). */
function peakMiB(child: ChildProcess): number {
  try {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function writeRandom(path: string, mebibytes: number): void {
  const block = Buffer.alloc(1 << 20);
  const file = openSync(path, 'w');
  for (let number = 0; number < mebibytes; number += 1) {
    crypto.getRandomValues(block.subarray(0, 65_536));
    writeSync(file, block);
  }
  closeSync(file);
}

/** The environment that the server prints. */
async function settingsOf(child: ChildProcess): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  if (!child.stdout) throw new Error('the server has no output');
  for await (const line of createInterface(child.stdout)) {
    const [, name = '', value = ''] = /^export (\S+)=(.*)$/.exec(line) ?? [];
    if (name !== '') settings[name] = value;
    if (line.startsWith('dtool-ecs-mount')) break;
  }
  return settings;
}
