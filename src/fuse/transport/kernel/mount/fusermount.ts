import { closeSync } from 'node:fs';
import { UserError, messageOf } from '../../../../errors.ts';
import { runCommand, type CommandResult } from '../../../command.ts';
import { detach } from '../../../unmount.ts';
import type { MountedDevice } from './mounted-device.ts';
import { loadNative } from './native.ts';
import { fusermountArguments, type MountOptions } from './options.ts';

const FUSERMOUNT = 'fusermount3';
/** The variable in which fusermount3 finds the descriptor of the socket to send the device through. */
const COMM_FD = '_FUSE_COMMFD';

/** What fusermount3 complains of, and what helps. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/user_allow_other/, 'Add the line user_allow_other to /etc/fuse.conf, or mount without --allow-other.'],
  [/device not found|No such (device|file).*fuse/, 'Load the kernel module with `modprobe fuse`.'],
  [
    /\/dev\/fuse: Permission denied/,
    'Users need to read and write /dev/fuse: as root, `chmod 0666 /dev/fuse`.',
  ],
  [
    /could not determine username/,
    'fusermount3 needs an entry for your user. Add one to /etc/passwd, or mount as root.',
  ],
  [/too many FUSE filesystems/, 'Unmount one, or raise mount_max in /etc/fuse.conf.'],
  [
    /not permitted/,
    'fusermount3 must belong to root and be setuid: as root, `chmod u+s $(which fusermount3)`.',
  ],
  [/write access to mountpoint|owner|Permission denied/, 'The mount point must be a directory of yours.'],
];

/**
 * Mounts as an ordinary user: the setuid program fusermount3 opens and mounts the device and sends it back through a
 * socket. Source of the protocol: libfuse's lib/mount.c and util/fusermount.c.
 *
 * @param mountpoint as realpath(3) gives it
 * @throws UserError
 */
export async function mountAsUser(mountpoint: string, options: MountOptions): Promise<MountedDevice> {
  const native = await loadNative();
  const [theirs, ours] = native.socketPair();
  let fd: number | undefined;
  try {
    const result = await run(fusermountArguments(mountpoint, options), theirs);
    if (!result.done) {
      const advice = ADVICE.find(([complaint]) => complaint.test(result.message))?.[1];
      throw new UserError(`can't mount on ${mountpoint}: ${result.message}`, advice);
    }
    // It has exited, so what it sent is there.
    fd = native.receiveDescriptor(ours);
  } finally {
    closeSync(theirs);
    closeSync(ours);
  }
  if (fd === undefined) {
    await detach(mountpoint, true);
    throw new UserError(`can't mount on ${mountpoint}: ${FUSERMOUNT} sent no descriptor`);
  }
  return { fd, mountpoint };
}

async function run(args: readonly string[], fd: number): Promise<CommandResult> {
  try {
    return await runCommand(FUSERMOUNT, args, { fd, env: { [COMM_FD]: '3' } });
  } catch (error) {
    throw new UserError(
      `can't run ${FUSERMOUNT}: ${messageOf(error)}`,
      'Install the package fuse3 (on Fedora, openSUSE and Alpine too), or mount as root.',
      { cause: error },
    );
  }
}
