import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Disturbance, DISTURBANCES } from '../soak/disturbances.ts';
import { VIOLATIONS } from '../soak/figures.ts';
import { soak } from '../soak/soak.ts';
import { isFull, scaled } from '../support/full.ts';
import { mountObstacle } from '../support/mounted.ts';
import { type CompiledProgram, compileProgram } from '../support/run-typescript.ts';

const SEED = Date.now() % 1_000_000;
/** Nothing of what must not happen did. */
const NONE = Object.fromEntries(VIOLATIONS.map((violation) => [violation, 0]));

describe.skipIf(mountObstacle !== undefined)('a mount under reads, writes and freezes', () => {
  let program: CompiledProgram;
  beforeAll(async () => {
    program = await compileProgram(resolve(import.meta.dirname, '../soak/load.ts'));
  });
  afterAll(async () => program.remove());

  // Each takes a quarter of a minute at least, so one of them is for the full length only.
  const cases: readonly (readonly [string, readonly Disturbance[], number])[] = [
    ['killed with SIGKILL at any moment', ['kill'], scaled({ usual: 2, full: 200 })],
    ['disturbed in every other way, and under signals', DISTURBANCES.filter((what) => what !== 'kill'), 200],
  ];
  test.each(isFull ? cases : cases.slice(0, 1))(
    '%s: no wrong byte, nothing lost, stuck or left behind',
    async (_, disturbances, times) => {
      const said: string[] = [`seed ${SEED}`];
      const figures = await soak({
        seed: SEED,
        loadProgram: program.path,
        disturbances,
        signals: isFull,
        isOver: (made) => made >= times,
        pauseMaxMs: 800,
        report: (line) => said.push(line),
      });
      process.stderr.write(`${figures.toString()}\n`);
      const violations = Object.fromEntries(
        VIOLATIONS.map((violation) => [violation, figures.get(violation)]),
      );
      expect(violations, said.join('\n')).toEqual(NONE);
      expect(figures.get('bytes read')).toBeGreaterThan(0);
      expect(figures.get('fsyncs')).toBeGreaterThan(0);
      expect(figures.get('datasets frozen')).toBeGreaterThan(0);
      for (const disturbance of disturbances)
        expect(figures.get(`disturbances: ${disturbance}`)).toBeGreaterThan(0);
    },
    scaled({ usual: 300_000, full: 3_600_000 }),
  );
});
