import { release } from 'node:os';
import { hasProgram } from '../../support/mounted.ts';
import { run } from '../../support/test-mounts.ts';
import type { TransportMount } from '../../support/transport-mount.ts';
import type { Deviation } from '../transport-deviations.ts';
import type { TransportContract } from '../transport.ts';

/** Where a part of the contract is tried. */
export interface Place {
  readonly contract: TransportContract;
  /** A new directory of the mount for each test: to be read in a test only. */
  readonly root: string;
  /** The mount that everything can be done to. */
  readonly mount: TransportMount;
  /** The mount that nothing can be done to. */
  readonly readOnly: TransportMount;
  /** A path below {@link root}. */
  readonly at: (path: string) => string;
  readonly deviates: (deviation: Deviation) => boolean;
}

const [major = 0, minor = 0] = release().split('.').map(Number);
/** Whether the kernel is this version or a newer one: older ones do not ask for everything. */
export const isLinux = (wantedMajor: number, wantedMinor: number): boolean =>
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);

export const MiB = 2 ** 20;
export const GiB = 2 ** 30;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

const present = new Map<string, boolean>();
for (const program of ['python3', 'rsync', 'git', 'setpriv', 'fallocate', 'cc'])
  present.set(program, await hasProgram(program));
export const has = (program: string): boolean => present.get(program) === true;

/** Runs a Python script that prints what it found out, or the name of the errno it was stopped by. */
export async function python(script: string, ...args: readonly string[]): Promise<string> {
  const whole = `
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result != 0: raise OSError(ctypes.get_errno(), '')
try:
${script.replaceAll(/^/gm, '    ')}
except OSError as error:
    print(errno.errorcode[error.errno])
`;
  return (await run('python3', ['-c', whole, ...args])).stdout.trim();
}

export const renameWithFlags = (from: string, to: string, flags: number): Promise<string> =>
  python(
    'check(libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3])))\nprint("done")',
    from,
    to,
    String(flags),
  );

export const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => String((error as { code?: unknown }).code),
  );

export const sh = async (command: string, cwd: string): Promise<string> =>
  (await run('bash', ['-ec', command], { cwd, maxBuffer: 2 ** 26 })).stdout;

/** What is below a directory, a line each: path, kind, mode, target, size of files, and time if it is to be compared. */
export const inventory = (directory: string, times: boolean): Promise<string> =>
  sh(
    `find . -mindepth 1 -printf '%P %y %m %l ${times ? '%T@' : ''}\\n' | sort; find . -type f -exec md5sum {} + | sort -k 2`,
    directory,
  );
