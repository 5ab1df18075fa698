import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * Puts the transports side by side, over the same file system in memory, in one run:
 * `npm run bench:transports -- [--json] [--rounds N] [--only TITLE]`. Needs root (to empty the kernel's caches), /dev/fuse and python3;
 * takes about four minutes. Prints a table in Markdown, or with `--json` every figure of every round.
 *
 * `plain` is fuse-native with the package's defaults, `tuned` what our adapter makes of it.
 */

const COLUMNS = ['plain', 'tuned', 'kernel'] as const;
type Column = (typeof COLUMNS)[number];
/** What memory-daemon.ts calls them. */
const DAEMONS: Readonly<Record<Column, string>> = { plain: 'plain', tuned: 'fuse-native', kernel: 'kernel' };

const {
  values: { json, rounds: wantedRounds, only },
} = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
  },
});
const ROUNDS = Number(wantedRounds);
if (!(Number.isInteger(ROUNDS) && ROUNDS > 0))
  throw new Error(`--rounds ${wantedRounds} is no number of rounds`);

/** One line of the table: what is measured by a script that prints a single number. */
interface Row {
  readonly title: string;
  readonly unit: 's' | 'MB/s' | 'per s';
  /** How many times better than plain fuse-native the kernel transport is to be. */
  readonly goal: number;
  /** Measured in the first round alone, as it takes so long. */
  readonly once?: true;
  /** Python, with `root` as the mountpoint and `timed(function)` in seconds. */
  readonly script: string;
}

const PRELUDE = `
import os, subprocess, sys, threading, time, random
root = sys.argv[1]
def timed(work):
    start = time.perf_counter(); work(); return time.perf_counter() - start
def run(*command):
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
def read_all(path):
    with open(path, 'rb', buffering=0) as f:
        buffer = bytearray(1 << 20)
        while f.readinto(buffer): pass
def threads(count, work):
    all = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for t in all: t.start()
    for t in all: t.join()
def random_reads(path, count):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    size = os.fstat(fd).st_size
    chooser = random.Random(1)
    offsets = [chooser.randrange(size // 4096) * 4096 for _ in range(count)]
    for offset in offsets: os.pread(fd, 4096, offset)
    os.close(fd)
def create(path, count):
    for i in range(count):
        fd = os.open(f'{path}/made-{i}', os.O_CREAT | os.O_WRONLY); os.write(fd, b'x' * 100); os.close(fd)
    for i in range(count): os.unlink(f'{path}/made-{i}')
def write_big(path):
    block = b'w' * (1 << 20)
    with open(path, 'wb', buffering=0) as f:
        for _ in range(256): f.write(block)
`;

const ALL_ROWS: readonly Row[] = [
  {
    title: 'sequential read',
    unit: 'MB/s',
    goal: 1,
    script: "print(268.4 / timed(lambda: read_all(root + '/big-0')))",
  },
  {
    title: '4 readers',
    unit: 'MB/s',
    goal: 1,
    script: "print(4 * 268.4 / timed(lambda: threads(4, lambda i: read_all(f'{root}/big-{i}'))))",
  },
  {
    title: 'random 4 KiB',
    unit: 'per s',
    goal: 1.7,
    script: "print(20000 / timed(lambda: random_reads(root + '/big-1', 20000)))",
  },
  {
    title: 'stat of 10,000 files',
    unit: 'per s',
    goal: 1.7,
    script: "print(10000 / timed(lambda: [os.stat(f'{root}/10k/file-{i:06d}.bin') for i in range(10000)]))",
  },
  {
    title: '`ls -l` of 100,000',
    unit: 's',
    goal: 3,
    script: "print(timed(lambda: run('ls', '-l', root + '/100k')))",
  },
  {
    title: '`find` of 100,000',
    unit: 's',
    goal: 10,
    script: "print(timed(lambda: run('find', root + '/100k')))",
  },
  {
    title: '`find` of 1,000,000, once',
    unit: 's',
    goal: 10,
    once: true,
    script: "print(timed(lambda: run('find', root + '/1M')))",
  },
  {
    title: 'sequential write',
    unit: 'MB/s',
    goal: 5,
    script: "print(268.4 / timed(lambda: write_big(root + '/new/big')))",
  },
  {
    title: 'create, write, close',
    unit: 'per s',
    goal: 1,
    script: "print(5000 / timed(lambda: create(root + '/new', 5000)))",
  },
  {
    title: '160 lookups of 50 ms, 16 threads',
    unit: 's',
    goal: 1,
    script:
      "print(timed(lambda: threads(16, lambda i: [os.stat(f'{root}/slow/file-{i * 10 + j}') for j in range(10)])))",
  },
];

const ROWS = ALL_ROWS.filter(({ title }) => title.includes(only));

const directory = mkdtempSync(join(tmpdir(), 'dtool-ecs-mount-bench-'));
const mountpoint = mkdtempSync(join(directory, 'mnt-'));
const daemonProgram = resolve(import.meta.dirname, 'memory-daemon.js');

/** All figures by row, then by column. */
const figures = ROWS.map((): Record<Column, number[]> => ({ plain: [], tuned: [], kernel: [] }));
for (let round = 0; round < ROUNDS; round += 1) {
  // Turn by turn, so that a machine that slows down slows all.
  for (const column of COLUMNS) {
    const daemon = await startDaemon(DAEMONS[column]);
    for (const [index, { script, once: isOnce }] of ROWS.entries()) {
      if (isOnce && round > 0) continue;
      writeFileSync('/proc/sys/vm/drop_caches', '3');
      const figure = Number(
        execFileSync('python3', ['-c', PRELUDE + script, mountpoint], { encoding: 'utf8' }),
      );
      figures[index]?.[column].push(figure);
    }
    await stopDaemon(daemon);
  }
}
rmdirSync(mountpoint);
rmdirSync(directory);

const results = ROWS.map(({ title, unit, goal }, index) => {
  const found = figures[index] ?? { plain: [], tuned: [], kernel: [] };
  const [plain, tuned, kernel] = [median(found.plain), median(found.tuned), median(found.kernel)];
  const better = (than: number): number => (unit === 's' ? than / kernel : kernel / than);
  return {
    title,
    unit,
    goal,
    plain,
    tuned,
    kernel,
    toPlain: better(plain),
    toTuned: better(tuned),
    rounds: found,
  };
});
const [cpu] = cpus();
const machine = {
  node: process.version,
  kernel: release(),
  cores: cpus().length,
  cpu: cpu?.model ?? 'unknown',
};
if (json) {
  process.stdout.write(`${JSON.stringify({ ...machine, rounds: ROUNDS, results }, null, 2)}\n`);
} else {
  const lines = [
    `| cold, in memory, median of ${ROUNDS} | fuse-native, plain | fuse-native, tuned | kernel | to plain (goal) | to tuned |`,
    '|---|---|---|---|---|---|',
    ...results.map(({ title, unit, goal, plain, tuned, kernel, toPlain, toTuned }) => {
      const shown = [plain, tuned, kernel].map(show).join(' | ');
      return `| ${title}, ${unit} | ${shown} | ${toPlain.toFixed(1)} (${goal}) | ${toTuned.toFixed(1)} |`;
    }),
  ];
  process.stdout.write(
    `Node ${machine.node}, Linux ${machine.kernel}, ${machine.cores} cores, ${machine.cpu}\n\n${lines.join('\n')}\n`,
  );
}

/** Three digits that count, and no exponent. */
function show(figure: number): string {
  return Number(figure.toPrecision(3)).toLocaleString('en');
}

async function startDaemon(name: string): Promise<ChildProcess> {
  const daemon = spawn(process.execPath, [daemonProgram, name, mountpoint], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (daemon.stdout) await once(daemon.stdout, 'data');
  return daemon;
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  const ended = once(daemon, 'exit');
  daemon.kill('SIGTERM');
  await ended;
}

function median(values: readonly number[] = []): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
