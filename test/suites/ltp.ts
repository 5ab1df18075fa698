import { chmod, mkdir, readFile, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { firstExecutable, runProgram, type ProgramResult } from './run-program.ts';
import type { Outcome, Suite } from './suite.ts';

const LONGEST_SECONDS = 300;
/** Exit code of a test that can't run here, by tst_res_flags.h. */
const TCONF = 32;
/** The calls that take a path or a descriptor of a file, by how the names of their tests begin. */
const CALLS =
  'access cachestat chdir chmod chown close copy_file_range creat dup execve faccessat fallocate fchdir fchmod fchown fcntl ' +
  'fdatasync fgetxattr file_attr flistxattr flock fpathconf fremovexattr fsetxattr fstat fsync ftruncate futimesat ' +
  'getcwd getdents getxattr inotify io_submit lchown lgetxattr link listxattr llistxattr llseek lremovexattr lseek lstat ' +
  'mincore mkdir mknod mmap mremap msync munmap name_to_handle_at nftw open pathconf posix_fadvise pread pwrite read ' +
  'realpath remap_file_pages removexattr rename rmdir sendfile setxattr splice stat symlink sync tee truncate umask ' +
  'unlink ustat utime vmsplice write';
const PREFIXES = CALLS.split(' ');
/** Tests of the group `fs` that use no directory of the caller's. */
const ELSEWHERE = /^(read_all|proc01|quota_remount|isofs|binfmt_misc|squashfs)/;

/** The Linux Test Project (https://github.com/linux-test-project/ltp): its groups `syscalls` and `fs`. */
export const ltp: Suite = {
  name: 'ltp',
  whereabouts: ['$LTPROOT (where it was installed)', '/opt/ltp'],
  find: async () => {
    const bin = 'testcases/bin';
    const program = firstExecutable(
      [process.env['LTPROOT'] ?? '', '/opt/ltp']
        .filter((root) => root !== '')
        .map((root) => join(root, bin, 'open01')),
    );
    if (program === undefined) return undefined;
    const root = program.slice(0, -join(bin, 'open01').length - 1);
    const commands = new Map([
      ...(await commandsOf(root, 'syscalls')).filter(([name]) =>
        PREFIXES.some((prefix) => name.startsWith(`syscalls/${prefix}`)),
      ),
      ...(await commandsOf(root, 'fs')).filter(([name]) => !ELSEWHERE.test(name.slice('fs/'.length))),
    ]);
    return {
      path: root,
      tests: [...commands.keys()],
      run: async (test, place) => {
        const directory = join(place.directory, 'ltp');
        await mkdir(directory);
        await chmod(directory, 0o777);
        const ran = await runProgram(['sh', '-c', commands.get(test) ?? 'false'], {
          cwd: directory,
          env: {
            LTPROOT: root,
            TMPDIR: directory,
            PATH: [join(root, bin), process.env['PATH'] ?? ''].join(delimiter),
            LTP_SINGLE_FS_TYPE: place.diskType,
            LTP_COLORIZE_OUTPUT: 'n',
            KCONFIG_SKIP_CHECK: '1',
          },
          longestSeconds: LONGEST_SECONDS,
        });
        await rm(directory, { recursive: true, force: true });
        return new Map([['result', outcomeOf(ran)]]);
      },
    };
  },
};

async function commandsOf(root: string, group: string): Promise<readonly (readonly [string, string])[]> {
  const text = await readFile(join(root, 'runtest', group), 'utf8');
  return [...text.matchAll(/^([^\s#]\S*)\s+(.+)$/gm)].map(([, name = '', command = '']) => [
    `${group}/${name}`,
    command,
  ]);
}

function outcomeOf({ output, exitCode, isLate }: ProgramResult): Outcome {
  const say = (kinds: RegExp): string =>
    output
      .split('\n')
      .filter((line) => kinds.test(line))
      .slice(0, 4)
      .join(' | ');
  if (isLate) return { state: 'failed', detail: `not over after ${LONGEST_SECONDS} s` };
  if (exitCode === 0) return { state: 'passed', detail: '' };
  if (exitCode === TCONF) return { state: 'skipped', detail: say(/TCONF/) };
  return { state: 'failed', detail: say(/TFAIL|TBROK|TWARN/) || output.trim().slice(-300) };
}
