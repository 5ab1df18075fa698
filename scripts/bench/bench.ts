import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Cleaner } from './cleaner.ts';
import { type Row, SUBJECTS, type Subject } from './row.ts';
import { MEMORY } from './rows/memory.ts';
import { METADATA } from './rows/metadata.ts';
import { READING } from './rows/reading.ts';
import { World } from './world.ts';

/**
 * Our mount beside s3fs and rclone (where they are installed) and the limits, on one server, in one run:
 * `npm run bench [-- ROW…]`. The server is radosgw where it is installed, else the embedded one; both are processes of
 * their own. Needs root (to empty the kernel's caches), /dev/fuse, python3, and 4 GiB in the temporary directory.
 *
 * Prints a table in Markdown, medians of BENCH_ROUNDS (3) rounds, and writes bench-results.json. A ratio above 1 says
 * that we are better. A new row is an object with the interface of row.ts, in a file in rows/.
 */
const ROWS: readonly Row[] = [...READING, ...METADATA, ...MEMORY];
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !ROWS.some((row) => row.name === name));
if (unknown.length > 0) {
  console.error(`no row ${unknown.join(', ')}; there are ${ROWS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const rows = ROWS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));

const cleaner = new Cleaner();
try {
  const world = await World.start(cleaner);
  const figures = new Map<Row, Map<Subject, number[]>>();
  for (let round = 0; round < ROUNDS; round += 1) {
    // Turn by turn, so that a machine that slows down slows all.
    for (const row of rows) {
      const ofRow = figures.get(row) ?? new Map<Subject, number[]>();
      figures.set(row, ofRow);
      for (const subject of SUBJECTS) {
        const figure = await row.measure(world, subject);
        if (figure === undefined) continue;
        ofRow.set(subject, [...(ofRow.get(subject) ?? []), figure]);
        console.error(`${row.name}: ${subject} ${figure.toPrecision(4)} ${row.unit}`);
      }
    }
  }
  report(world, figures);
} finally {
  await cleaner.run();
}

function report(world: World, figures: ReadonlyMap<Row, ReadonlyMap<Subject, readonly number[]>>): void {
  const lines = [
    `| medians of ${ROUNDS} | ours | s3fs | rclone | limit | target |`,
    '|---|---|---|---|---|---|',
  ];
  for (const [row, ofRow] of figures) {
    const ours = median(ofRow.get('ours'));
    const cells = SUBJECTS.map((subject) => {
      const figure = median(ofRow.get(subject));
      if (figure === undefined) return '–';
      const text = figure.toPrecision(3);
      if (subject === 'ours' || ours === undefined) return text;
      const ratio = row.better === 'more' ? ours / figure : figure / ours;
      return `${text} (${ratio.toFixed(2)})`;
    });
    const limit = row.limit === undefined ? '' : `; limit: ${row.limit}`;
    lines.push(`| ${row.title}, ${row.unit} | ${cells.join(' | ')} | ${row.target}${limit} |`);
  }
  const [cpu] = cpus();
  const machine = `${world.server}, Node ${process.version}, ${cpus().length} cores, ${cpu?.model ?? 'unknown'}`;
  console.log(`${machine}\n\n${lines.join('\n')}`);
  const results = Array.from(figures, ([{ name, title, unit, target }, ofRow]) => ({
    name,
    title,
    unit,
    target,
    figures: Object.fromEntries(ofRow),
  }));
  writeFileSync('bench-results.json', `${JSON.stringify({ machine, results }, undefined, 2)}\n`);
}

function median(values: readonly number[] = []): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
