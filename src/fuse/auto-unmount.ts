import { spawn } from 'node:child_process';
import { messageOf, UserError } from '../errors.ts';
import { findMount } from './mount-table.ts';

/**
 * Waits until its input ends, which it does with the process at the other end, however that dies; then takes the mount
 * away, if it is still there: the device ($1) at the place ($2, as mountinfo writes it; $3 as it is). Signals to our
 * terminal or process group are not for it.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM
cat > /dev/null
while read -r id parent device root place rest; do
  [ "$device $place" = "$1 $2" ] || continue
  if [ "$(id -u)" = 0 ]; then exec umount -i -c -l -- "$3"; fi
  fusermount3 -u -z -- "$3" || exec fusermount -u -z -- "$3"
  exit
done < /proc/self/mountinfo`;

/** The guard of one mount. */
export interface AutoUnmount {
  /** The mount has ended as it should: nothing is left to be done. */
  stop(): void;
}

/**
 * Sees to it that a mount does not outlive this process, not even if it is killed: a shell waits for that. It needs
 * neither libfuse's `auto_unmount`, which users may combine with `allow_other` only, nor root.
 *
 * @param mountpoint canonical
 * @throws UserError when there is no mount or no shell
 */
export async function startAutoUnmount(mountpoint: string): Promise<AutoUnmount> {
  const mount = await findMount(mountpoint);
  if (!mount) {
    throw new UserError(
      `--auto-unmount does not work on ${mountpoint}: it is not known where this is mounted`,
      'Give a directory as mountpoint, or leave out --auto-unmount.',
    );
  }
  const child = spawn('sh', ['-c', SCRIPT, 'auto-unmount', mount.device, escape(mountpoint), mountpoint], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } catch (error) {
    throw new UserError(`--auto-unmount needs a shell: ${messageOf(error)}`, undefined, { cause: error });
  }
  // Neither keeps this process alive, and its end is no error of ours.
  child.unref();
  child.stdin.on('error', () => {});
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref();
  return { stop: () => void child.kill('SIGKILL') };
}

/** As the kernel writes paths into mountinfo. */
function escape(path: string): string {
  return path.replaceAll(/[ \t\n\\]/g, (character) => {
    const octal = character.charCodeAt(0).toString(8);
    return `\\${octal.padStart(3, '0')}`;
  });
}
