import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { UserError, messageOf } from '../../../../errors.ts';
import { runCommand, type CommandResult } from '../../../command.ts';
import { mountArguments, type MountOptions } from './options.ts';
import type { MountedDevice } from './mounted-device.ts';

const openFile = promisify(open);
const closeFile = promisify(close);
const DEVICE = '/dev/fuse';

/**
 * Mounts as root: opens the device and hands it to mount(8).
 *
 * @param mountpoint as realpath(3) gives it
 * @throws UserError
 */
export async function mountAsRoot(mountpoint: string, options: MountOptions): Promise<MountedDevice> {
  const fd = await openDevice();
  try {
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const result = await run(mountArguments(mountpoint, options, owner), fd);
    if (!result.done) {
      throw new UserError(
        `can't mount on ${mountpoint}: ${result.message}`,
        /permission denied|not permitted|must be superuser/i.test(result.message)
          ? 'Mounting needs the capability SYS_ADMIN: in a container, start it with --cap-add SYS_ADMIN --device /dev/fuse.'
          : undefined,
      );
    }
  } catch (error) {
    await closeFile(fd);
    throw error;
  }
  return { fd, mountpoint };
}

async function openDevice(): Promise<number> {
  try {
    return await openFile(DEVICE, constants.O_RDWR);
  } catch (error) {
    const missing =
      error instanceof Error && 'code' in error && error.code !== 'EACCES' && error.code !== 'EPERM';
    throw new UserError(
      `can't open ${DEVICE}: ${messageOf(error)}`,
      missing
        ? 'Load the kernel module with `modprobe fuse`; in a container, start it with --device /dev/fuse.'
        : `Whoever mounts needs to read and write ${DEVICE}: \`chmod 0666 ${DEVICE}\` is what distributions do.`,
      { cause: error },
    );
  }
}

async function run(args: readonly string[], fd: number): Promise<CommandResult> {
  try {
    return await runCommand('mount', args, { fd });
  } catch (error) {
    throw new UserError(`can't run mount: ${messageOf(error)}`, 'Install util-linux.', { cause: error });
  }
}
