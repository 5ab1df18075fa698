import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/**
 * Puts the transports side by side, over the same file system in memory, in one run: `npm run bench:transports`.
 * Needs root (to empty the kernel's caches), /dev/fuse and python3. Prints a table in Markdown.
 */

const TRANSPORTS = ['fuse-native', 'kernel'] as const;
const ROUNDS = 3;

/** One line of the table: what is measured by a script that prints a single number. */
interface Row {
  readonly title: string;
  readonly unit: 's' | 'MB/s' | 'per s';
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

const ROWS: readonly Row[] = [
  {
    title: 'sequential read',
    unit: 'MB/s',
    script: "print(268.4 / timed(lambda: read_all(root + '/big-0')))",
  },
  {
    title: '4 readers',
    unit: 'MB/s',
    script: "print(4 * 268.4 / timed(lambda: threads(4, lambda i: read_all(f'{root}/big-{i}'))))",
  },
  {
    title: 'random 4 KiB',
    unit: 'per s',
    script: "print(20000 / timed(lambda: random_reads(root + '/big-1', 20000)))",
  },
  {
    title: 'stat of 10,000 files',
    unit: 'per s',
    script: "print(10000 / timed(lambda: [os.stat(f'{root}/10k/file-{i:06d}.bin') for i in range(10000)]))",
  },
  { title: '`ls -l` of 100,000', unit: 's', script: "print(timed(lambda: run('ls', '-l', root + '/100k')))" },
  { title: '`find` of 100,000', unit: 's', script: "print(timed(lambda: run('find', root + '/100k')))" },
  {
    title: 'sequential write',
    unit: 'MB/s',
    script: "print(268.4 / timed(lambda: write_big(root + '/new/big')))",
  },
  {
    title: 'create, write, close',
    unit: 'per s',
    script: "print(5000 / timed(lambda: create(root + '/new', 5000)))",
  },
  {
    title: '160 lookups of 50 ms, 16 threads',
    unit: 's',
    script:
      "print(timed(lambda: threads(16, lambda i: [os.stat(f'{root}/slow/file-{i * 10 + j}') for j in range(10)])))",
  },
];

const directory = mkdtempSync(join(tmpdir(), 'dtool-ecs-mount-bench-'));
const mountpoint = mkdtempSync(join(directory, 'mnt-'));
const daemonProgram = resolve(import.meta.dirname, 'memory-daemon.js');

const figures = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round += 1) {
  // Turn by turn, so that a machine that slows down slows both.
  for (const transport of TRANSPORTS) {
    const daemon = await startDaemon(transport);
    for (const [index, { script }] of ROWS.entries()) {
      writeFileSync('/proc/sys/vm/drop_caches', '3');
      const key = `${transport} ${index}`;
      const figure = Number(
        execFileSync('python3', ['-c', PRELUDE + script, mountpoint], { encoding: 'utf8' }),
      );
      figures.set(key, [...(figures.get(key) ?? []), figure]);
    }
    await stopDaemon(daemon);
  }
}
rmdirSync(mountpoint);
rmdirSync(directory);

const lines = [
  `| cold, in memory, median of ${ROUNDS} | ${TRANSPORTS.join(' | ')} | ratio |`,
  '|---|---|---|---|',
  ...ROWS.map(({ title, unit }, index) => {
    const [before = Number.NaN, after = Number.NaN] = TRANSPORTS.map((name) =>
      median(figures.get(`${name} ${index}`)),
    );
    const ratio = unit === 's' ? before / after : after / before;
    return `| ${title}, ${unit} | ${before.toPrecision(3)} | ${after.toPrecision(3)} | ${ratio.toFixed(1)} |`;
  }),
];
const [cpu] = cpus();
process.stdout.write(
  `Node ${process.version}, ${cpus().length} cores, ${cpu?.model ?? 'unknown'}\n\n${lines.join('\n')}\n`,
);

async function startDaemon(transport: string): Promise<ChildProcess> {
  const daemon = spawn(process.execPath, [daemonProgram, transport, mountpoint], {
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
