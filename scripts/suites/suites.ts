/**
 * `npm run suites [-- SUITE[:TEST] ...]`: runs the public file system suites that are installed in a staging folder of a
 * real mount and beside it on the local disk, and prints how the two differ. Exits with 1 when something differs that
 * test/suites/expected-differences.json does not list, and with 2 when nothing could be run.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { messageOf } from '../../src/errors.ts';
import {
  describeDifference,
  type Difference,
  differencesOf,
  expectedBy,
} from '../../test/suites/difference.ts';
import { fsx } from '../../test/suites/fsx.ts';
import { ltp } from '../../test/suites/ltp.ts';
import { pjdfstest } from '../../test/suites/pjdfstest.ts';
import { Places } from '../../test/suites/places.ts';
import type { InstalledSuite, Suite } from '../../test/suites/suite.ts';
import { xfstests } from '../../test/suites/xfstests.ts';

const SUITES: readonly Suite[] = [pjdfstest, fsx, xfstests, ltp];
/** From the compiled program. */
const EXPECTED = resolve(import.meta.dirname, '../../../test/suites/expected-differences.json');
const GROUPS = z.array(
  z.object({ why: z.string(), suite: z.string(), cases: z.array(z.string()).readonly() }),
);

const say = (line: string): void => console.log(line);

interface Wanted {
  readonly suite: Suite;
  readonly installed: InstalledSuite;
  readonly tests: readonly string[];
}

async function main(): Promise<number> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { directory: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) {
    say('usage: npm run suites [-- [--directory DIR] [SUITE[:TEST] ...]]');
    return 0;
  }
  if (process.getuid?.() !== 0) {
    console.error('The suites act as several users: run them as root.');
    return 2;
  }
  const wanted = await wantedOf(positionals);
  if (wanted.length === 0) {
    console.error('No suite could be run.');
    return 2;
  }
  const groups = GROUPS.parse(JSON.parse(await readFile(EXPECTED, 'utf8')));
  await using places = await Places.create(values.directory);
  say(
    `the local disk is ${places.local.directory} (${places.local.diskType}), staging is ${places.staging.directory}`,
  );
  const unexpected: Difference[] = [];
  const seen = new Map<string, number>();
  let isStopped = false;
  // What a suite has begun ends by itself, so that nothing stays mounted.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      isStopped = true;
    });
  for (const { suite, installed, tests } of wanted) {
    let cases = 0;
    for (const test of tests) {
      if (isStopped) throw new Error('stopped by a signal');
      const local = await installed.run(test, places.local);
      const staging = await installed.run(test, places.staging);
      cases += local.size;
      for (const difference of differencesOf(suite.name, test, { local, staging })) {
        const why = expectedBy(difference, groups)?.why;
        if (why === undefined) {
          unexpected.push(difference);
          say(`UNEXPECTED ${describeDifference(difference)}`);
        } else seen.set(why, (seen.get(why) ?? 0) + 1);
      }
      await places.clear();
    }
    say(`${suite.name}: ${tests.length} tests with ${cases} cases were run in both places`);
  }
  for (const [why, count] of seen) say(`expected, ${count} cases: ${why}`);
  say(`${unexpected.length} differences are not expected`);
  return unexpected.length > 0 ? 1 : 0;
}

/** @param positionals `SUITE` or `SUITE:TEST`; none for everything that is installed */
async function wantedOf(positionals: readonly string[]): Promise<readonly Wanted[]> {
  const named = positionals.map((text) => {
    const [suite = '', ...test] = text.split(':');
    return { suite, test: test.join(':') };
  });
  for (const { suite } of named)
    if (!SUITES.some(({ name }) => name === suite))
      throw new Error(`unknown suite "${suite}". Use one of ${SUITES.map(({ name }) => name).join(', ')}.`);
  const wanted: Wanted[] = [];
  for (const suite of SUITES) {
    const mine = named.filter(({ suite: name }) => name === suite.name);
    if (named.length > 0 && mine.length === 0) continue;
    const installed = await suite.find();
    if (!installed) {
      say(
        `SKIPPED ${suite.name}: not found. Looked at: ${suite.whereabouts.join(', ')}. CONTRIBUTING.md says how to install it.`,
      );
      continue;
    }
    const tests = installed.tests.filter(
      (test) => mine.length === 0 || mine.some((one) => one.test === '' || test.startsWith(one.test)),
    );
    say(`${suite.name}: found at ${installed.path}, ${tests.length} tests`);
    wanted.push({ suite, installed, tests });
  }
  return wanted;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 2;
}
