import { FS_SUBTYPE, FS_TYPE } from '../../../mount-table.ts';
import type { TransportOptions } from '../../transport.ts';

export type MountOptions = Pick<TransportOptions, 'source' | 'allowOther' | 'readOnly'>;

/**
 * Options that every way to mount has. Where others are let in, the kernel checks file modes; who mounts may ask for
 * everything, and is told what is wrong with it (EROFS and not EACCES for a change).
 */
function commonOptions(options: MountOptions): string[] {
  return [
    'nosuid',
    'nodev',
    ...(options.readOnly ? ['ro'] : []),
    ...(options.allowOther ? ['allow_other', 'default_permissions'] : []),
  ];
}

/**
 * Arguments of mount(8) that mount the device it has as descriptor 3. `-i` and `-c` keep it from calling helpers and
 * from taking the source for a path.
 */
export function mountArguments(
  mountpoint: string,
  options: MountOptions,
  owner: { readonly uid: number; readonly gid: number },
): string[] {
  const kernel = ['fd=3', 'rootmode=40000', `user_id=${owner.uid}`, `group_id=${owner.gid}`];
  const list = [...commonOptions(options), ...kernel].join(',');
  return ['-i', '-c', '-t', FS_TYPE, '-o', list, '--', deviceName(options.source), mountpoint];
}

/** Arguments of fusermount3. */
export function fusermountArguments(mountpoint: string, options: MountOptions): string[] {
  // fusermount3 takes a backslash as the escape of what follows it, in this option alone.
  const fsname = deviceName(options.source).replaceAll(/[\\,]/g, (character) => `\\${character}`);
  const list = [...commonOptions(options), `subtype=${FS_SUBTYPE}`, `fsname=${fsname}`].join(',');
  return ['-o', list, '--', mountpoint];
}

/**
 * The source as a device name that is nothing else: no control characters, no `LABEL=…` or `UUID=…` that mount(8) would
 * search the disks for.
 */
export function deviceName(source: string): string {
  return source.replaceAll(/[\p{Cc}=]/gu, '_') || FS_SUBTYPE;
}
