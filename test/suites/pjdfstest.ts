import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { firstExecutable, runProgram } from './run-program.ts';
import { standIns } from './stand-ins.ts';
import type { Outcome, Outcomes, Suite } from './suite.ts';

const DIRECTORIES: readonly string[] = [
  process.env['PJDFSTEST'] ?? '',
  '/opt/pjdfstest',
  '/usr/local/share/pjdfstest',
].filter((path) => path !== '');
const LONGEST_SECONDS = 600;
/** Staging refuses devices; where the local disk does, too, the cases that only begin with one do not differ. */
const WITHOUT_DEVICES = ['setpriv', '--bounding-set', '-mknod', '--inh-caps', '-mknod'] as const;

/** pjdfstest (https://github.com/pjd/pjdfstest): POSIX calls with their results and their errors, one case a call. */
export const pjdfstest: Suite = {
  name: 'pjdfstest',
  whereabouts: [
    '$PJDFSTEST (the directory where it was built)',
    '/opt/pjdfstest',
    '/usr/local/share/pjdfstest',
  ],
  find: async () => {
    const program = firstExecutable(DIRECTORIES.map((directory) => join(directory, 'pjdfstest')));
    if (program === undefined) return undefined;
    const directory = dirname(program);
    const names = await readdir(join(directory, 'tests'), { recursive: true });
    return {
      path: directory,
      tests: names.filter((name) => name.endsWith('.t')).toSorted(),
      run: async (test, place) => {
        await using programs = await standIns({ df: dfOf(place.diskType) });
        const ran = await runProgram([...WITHOUT_DEVICES, 'sh', join(directory, 'tests', test)], {
          cwd: place.directory,
          env: { PATH: programs.path },
          longestSeconds: LONGEST_SECONDS,
        });
        return outcomesOf(ran);
      },
    };
  },
};

/**
 * A `df` that says that a place has the type of the local disk: the suite leaves out of its tests what it does not know to
 * hold on FUSE, and a staging folder is to be held to what the local disk does.
 */
function dfOf(diskType: string): string {
  return `if [ "$1" = -PT ]; then
  printf 'Filesystem Type 1024-blocks Used Available Capacity Mounted on\\ndisk ${diskType} 1 1 1 1%% /\\n'
else
  PATH=$REAL exec df "$@"
fi
`;
}

/** Reads TAP, the Test Anything Protocol; a plan that is not kept is a failed case called `plan`. */
export function outcomesOf({
  output,
  isLate,
}: {
  readonly output: string;
  readonly isLate: boolean;
}): Outcomes {
  const outcomes = new Map<string, Outcome>();
  for (const [, not, number = '', detail = ''] of output.matchAll(/^(not )?ok (\d+)(.*)$/gm)) {
    const isTodo = /# TODO/.test(detail);
    const state = isTodo ? 'skipped' : not === undefined ? 'passed' : 'failed';
    outcomes.set(number, { state, detail: shortened(detail) });
  }
  const [, planned] = /^1\.\.(\d+)/m.exec(output) ?? [];
  if (isLate) outcomes.set('plan', { state: 'failed', detail: `not over after ${LONGEST_SECONDS} s` });
  else if (planned === undefined || Number(planned) !== outcomes.size)
    outcomes.set('plan', {
      state: 'failed',
      detail: `${outcomes.size} cases of ${planned ?? 'no plan'}`,
    });
  return outcomes;
}

/** Long random names of the suite's say nothing. */
function shortened(detail: string): string {
  return detail
    .replace(/^ - /, '')
    .replaceAll(/[0-9a-f]{32,}/g, '…')
    .replaceAll(/(…\/?){2,}/g, '…')
    .trim();
}
