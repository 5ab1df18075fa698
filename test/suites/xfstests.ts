import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { firstExecutable, runProgram } from './run-program.ts';
import { standIns } from './stand-ins.ts';
import type { Outcome, Place, Suite } from './suite.ts';

const LONGEST_SECONDS = 300;
const TEST = 'suites-test';
const SCRATCH = 'suites-scratch';

/**
 * The quick generic tests of xfstests (https://github.com/kdave/xfstests). It takes what it is given for a file system of
 * type `fuse`, which has no device, and mounts it: that is a bind mount of a folder, here as in the other place.
 */
export const xfstests: Suite = {
  name: 'xfstests',
  whereabouts: ['$XFSTESTS (the directory where it was built)', '/var/lib/xfstests', '/opt/xfstests'],
  find: async () => {
    const check = firstExecutable(
      [process.env['XFSTESTS'] ?? '', '/var/lib/xfstests', '/opt/xfstests']
        .filter((directory) => directory !== '')
        .map((directory) => join(directory, 'check')),
    );
    if (check === undefined) return undefined;
    const directory = dirname(check);
    const groups = await readFile(join(directory, 'tests/generic/group.list'), 'utf8');
    return {
      path: directory,
      tests: [...groups.matchAll(/^(\d+) .*\bquick\b/gm)].map(([, number = '']) => `generic/${number}`),
      run: async (test, place) => new Map([['result', await run(directory, test, place)]]),
    };
  },
};

async function run(suite: string, test: string, place: Place): Promise<Outcome> {
  const work = await mkdtemp(join(tmpdir(), 'suites-xfstests-'));
  const [testDirectory, scratch, results] = [
    join(work, 'test'),
    join(work, 'scratch'),
    join(work, 'results'),
  ];
  const sources = [join(place.directory, 'test'), join(place.directory, 'scratch')] as const;
  for (const directory of [testDirectory, scratch, results, ...sources]) await mkdir(directory);
  const config = join(work, 'local.config');
  await writeFile(
    config,
    `export TEST_DEV=${TEST} TEST_DIR=${testDirectory} SCRATCH_DEV=${SCRATCH} SCRATCH_MNT=${scratch}
export FSTYP=fuse FUSE_SUBTYP= RESULT_BASE=${results}
`,
  );
  await using programs = await standIns(
    mountPrograms([
      { device: TEST, directory: testDirectory, source: sources[0] },
      { device: SCRATCH, directory: scratch, source: sources[1] },
    ]),
  );
  const { output, isLate } = await runProgram([join(suite, 'check'), test], {
    cwd: suite,
    env: { PATH: programs.path, HOST_OPTIONS: config },
    longestSeconds: LONGEST_SECONDS,
  });
  for (const directory of [testDirectory, scratch]) await unmountAll(directory);
  await rm(work, { recursive: true, force: true });
  return outcomeOf(output, isLate);
}

interface Mountable {
  readonly device: string;
  readonly directory: string;
  readonly source: string;
}

/** Programs that know two devices more than there are. */
function mountPrograms(mountables: readonly Mountable[]): Readonly<Record<string, string>> {
  const cases = (line: (mountable: Mountable) => string): string => mountables.map(line).join('\n');
  return {
    mount: `export PATH=$REAL
case " $* " in
${cases(
  ({ device, directory, source }) => `*" ${device} "*|*" ${directory} "*)
  case " $* " in *remount*) ;; *) mount --bind ${source} ${directory} || exit ;; esac
  case " $* " in
  *" ro "*|*"o ro"*|*,ro*) exec mount -o remount,bind,ro ${directory} ;;
  *remount*) exec mount -o remount,bind,rw ${directory} ;;
  esac
  exit ;;`,
)}
*) exec mount "$@" ;;
esac
`,
    umount: `export PATH=$REAL
set -- $(printf '%s\\n' "$@" | sed ${mountables.map(({ device, directory }) => `-e 's|^${device}$|${directory}|'`).join(' ')})
exec umount "$@"
`,
    findmnt: `export PATH=$REAL
case " $* " in
${cases(
  ({ device, directory }) => `*" ${device} "*|*" ${directory} "*)
  mountpoint -q ${directory} || exit 1
  case " $* " in
  *SOURCE,TARGET*) echo '${device} ${directory}' ;;
  *OPTIONS*) echo rw,relatime ;;
  *) echo '${directory}' ;;
  esac
  exit 0 ;;`,
)}
*) exec findmnt "$@" ;;
esac
`,
    df: `export PATH=$REAL
named() { awk '${cases(
      ({ device, directory }) => `$NF == "${directory}" { sub(/^[^ ]+ +[^ ]+/, "${device} fuse"); }`,
    ).replaceAll('\n', ' ')} { print }'; }
df "$@" | named
case "$*" in */*) ;; *)
${cases(({ directory }) => `  mountpoint -q ${directory} && df -T -P ${directory} | tail -n 1 | named`)} ;;
esac
true
`,
  };
}

async function unmountAll(directory: string): Promise<void> {
  // A test that was cut short may have mounted it twice.
  for (let left = 10; left > 0; left -= 1) {
    const { exitCode } = await runProgram(['umount', '-l', directory], { cwd: '/', longestSeconds: 60 });
    if (exitCode !== 0) return;
  }
}

function outcomeOf(output: string, isLate: boolean): Outcome {
  if (isLate) return { state: 'failed', detail: `not over after ${LONGEST_SECONDS} s` };
  const [, reason = ''] = /\[not run\]\s*(.*)$/m.exec(output) ?? [];
  if (/^Not run: /m.test(output)) return { state: 'skipped', detail: reason };
  if (/^Passed all 1 tests$/m.test(output)) return { state: 'passed', detail: '' };
  const differing = output
    .split('\n')
    .filter((line) => /^ {4}[+-]/.test(line) && !/^ {4}(---|\+\+\+)/.test(line));
  return { state: 'failed', detail: (differing.slice(0, 5).join(' | ') || output.trim()).slice(-600) };
}
