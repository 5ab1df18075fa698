import { join } from 'node:path';
import { firstExecutable, inPath, runProgram } from './run-program.ts';
import type { Suite } from './suite.ts';

const LONGEST_SECONDS = 900;
const OPERATIONS = '30000';
/** Options by the name of the test. All have a seed, so that both places do the same. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  plain: ['-S', '1'],
  'another seed': ['-S', '2', '-l', '1000000', '-o', '200000'],
  'without mmap': ['-S', '3', '-R', '-W'],
  'small and unaligned': ['-S', '4', '-l', '65536', '-o', '5000'],
};

/** fsx, the file system exerciser: random reads, writes, truncations and maps of one file, each held against a copy. */
export const fsx: Suite = {
  name: 'fsx',
  whereabouts: [
    '$FSX (the program)',
    '$XFSTESTS/ltp/fsx',
    '$LTPROOT/testcases/bin/fsx-linux',
    'fsx in the PATH',
  ],
  find: async () => {
    const program = firstExecutable([
      process.env['FSX'],
      join(process.env['XFSTESTS'] ?? '/var/lib/xfstests', 'ltp/fsx'),
      ...inPath('fsx'),
      join(process.env['LTPROOT'] ?? '/opt/ltp', 'testcases/bin/fsx-linux'),
    ]);
    if (program === undefined) return undefined;
    return {
      path: program,
      tests: Object.keys(TESTS),
      run: async (test, { directory }) => {
        const options = TESTS[test] ?? [];
        const { output, exitCode, isLate } = await runProgram(
          [program, '-q', '-N', OPERATIONS, ...options, join(directory, 'file')],
          { cwd: directory, longestSeconds: LONGEST_SECONDS },
        );
        const detail = isLate ? `not over after ${LONGEST_SECONDS} s` : output.trim().slice(-500);
        return new Map([
          ['result', exitCode === 0 ? { state: 'passed', detail: '' } : { state: 'failed', detail }],
        ]);
      },
    };
  },
};
