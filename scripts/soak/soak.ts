/**
 * `npm run soak [-- MINUTES [SEED [DISTURBANCE ...]]]`: everything that programs, networks and administrators do to a
 * mount, mixed, for as long as one likes, or only what is named; see test/soak. Prints figures, and exits with 1 if
 * anything happened that must not.
 */
import { join } from 'node:path';
import { DISTURBANCES } from '../../test/soak/disturbances.ts';
import { VIOLATIONS } from '../../test/soak/figures.ts';
import { soak } from '../../test/soak/soak.ts';

const MINUTES = 60;
/** No disturbance, but a load that is always there. */
const SIGNALS = 'signals';

const names = process.argv.slice(4);
const [minutes = MINUTES, seed = Date.now() % 1_000_000] = process.argv.slice(2, 4).map(Number);
const unknown = names.filter((name) => name !== SIGNALS && !DISTURBANCES.some((one) => one === name));
if (!(minutes > 0 && Number.isInteger(seed)) || unknown.length > 0) {
  console.error('usage: npm run soak [-- MINUTES [SEED [DISTURBANCE ...]]]');
  console.error(`disturbances: ${[SIGNALS, ...DISTURBANCES].join(', ')}`);
  process.exit(2);
}
const say = (line: string): void => console.log(`${new Date().toISOString()} ${line}`);
say(`${minutes} minutes with seed ${seed}`);
const end = performance.now() + minutes * 60_000;
const figures = await soak({
  seed,
  loadProgram: join(import.meta.dirname, '../../test/soak/load.js'),
  disturbances:
    names.length === 0
      ? [...DISTURBANCES, 'other client', 'other client']
      : DISTURBANCES.filter((name) => names.includes(name)),
  signals: names.length === 0 || names.includes(SIGNALS),
  isOver: () => performance.now() > end,
  pauseMaxMs: 2_000,
  report: say,
});
console.log(figures.toString());
process.exitCode = VIOLATIONS.some((violation) => figures.get(violation) > 0) ? 1 : 0;
