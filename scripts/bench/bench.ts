import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Cleaner } from './cleaner.ts';
import { Measured } from './measured.ts';
import { resultsOf, tableOf } from './report.ts';
import { type RowOf, type Subject, SUBJECTS } from './row.ts';
import { datasets } from './rows/datasets.ts';
import { freezeLarge, freezeSmall } from './rows/freeze.ts';
import { items } from './rows/items.ts';
import { listing } from './rows/listing.ts';
import { memory } from './rows/memory.ts';
import { random } from './rows/random.ts';
import { sequential } from './rows/sequential.ts';
import { walk } from './rows/walk.ts';
import { SERVERS } from './server.ts';
import { FULL, SMALL } from './sizes.ts';
import { World } from './world.ts';

/**
 * Our mount beside s3fs, rclone and the real dtool (where they are installed) and the limits, on one server, in one run:
 * `npm run bench [-- ROW… --rounds N --small --server radosgw|embedded]`. Needs root (to unmount), /dev/fuse,
 * python3, and 6 GiB in the temporary directory; `.ci/real-dtool.sh` installs dtool.
 *
 * Prints a table in Markdown and writes bench-results.json. A new row is an object with the interface of row.ts, in a
 * file in rows/.
 */
const ROWS: readonly RowOf[] = [
  sequential,
  random,
  walk,
  items,
  datasets,
  listing,
  freezeSmall,
  freezeLarge,
  memory,
];

/** What takes minutes where others take seconds. */
const ONCE: ReadonlySet<Subject> = new Set(['dtool']);

const { values, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    small: { type: 'boolean', default: false },
    server: { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const server = SERVERS.find((name) => name === values.server);
const rows = ROWS.map((rowOf) => rowOf(values.small ? SMALL : FULL));
const names = rows.map(({ name }) => name);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0 || !(rounds >= 1) || server !== values.server) {
  console.error(
    `usage: bench [ROW…] [--rounds N] [--small] [--server ${SERVERS.join('|')}]\nrows: ${names.join(', ')}`,
  );
  process.exit(2);
}
const chosen = rows.filter(({ name }) => wanted.length === 0 || wanted.includes(name));

const cleaner = new Cleaner();
try {
  const world = await World.start(cleaner, server);
  const measured = chosen.map((row) => new Measured(row));
  for (let round = 0; round < rounds; round += 1) {
    // Turn by turn, so that a machine that slows down slows all; and whoever is first may find caches cold.
    const subjects = round % 2 === 0 ? SUBJECTS : SUBJECTS.toReversed();
    for (const ofRow of measured) {
      const { name, maxRounds = rounds } = ofRow.row;
      if (round >= maxRounds) continue;
      for (const subject of subjects) {
        if (ofRow.wasEnded(subject) || (round > 0 && ONCE.has(subject))) continue;
        world.takeMemory();
        try {
          const figures = await ofRow.row.measure(world, subject);
          if (!figures) continue;
          ofRow.add(subject, figures, world.takeMemory());
          console.error(`${name}: ${subject} ${JSON.stringify(figures)}`);
        } catch (error) {
          // What else there is to be measured is worth having; the exit code tells.
          console.error(`${name}: ${subject} failed:`, error);
          process.exitCode = 1;
        }
      }
    }
  }
  const setting = { server: world.server.name, rounds, size: values.small ? 'small' : 'full' } as const;
  console.log(tableOf(setting, measured));
  writeFileSync('bench-results.json', `${JSON.stringify(resultsOf(setting, measured), undefined, 2)}\n`);
} finally {
  await cleaner.run();
}
