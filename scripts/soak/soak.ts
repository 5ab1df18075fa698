/**
 * `npm run soak [-- MINUTES [SEED]]`: everything that programs, networks and administrators do to a mount, mixed, for as
 * long as one likes; see test/soak. Prints figures, and exits with 1 if anything happened that must not.
 */
import { join } from 'node:path';
import { DISTURBANCES, soak } from '../../test/soak/soak.ts';
import { VIOLATIONS } from '../../test/soak/figures.ts';

const MINUTES = 60;

const [minutes = MINUTES, seed = Date.now() % 1_000_000] = process.argv.slice(2).map(Number);
if (!(minutes > 0 && Number.isInteger(seed))) {
  console.error('usage: npm run soak [-- MINUTES [SEED]]');
  process.exit(2);
}
const say = (line: string): void => console.log(`${new Date().toISOString()} ${line}`);
say(`${minutes} minutes with seed ${seed}`);
const end = performance.now() + minutes * 60_000;
const figures = await soak({
  seed,
  loadProgram: join(import.meta.dirname, '../../test/soak/load.js'),
  disturbances: [...DISTURBANCES, 'other client', 'other client'],
  isOver: () => performance.now() > end,
  pauseMaxMs: 2_000,
  report: say,
});
console.log(figures.toString());
process.exitCode = VIOLATIONS.some((violation) => figures.get(violation) > 0) ? 1 : 0;
