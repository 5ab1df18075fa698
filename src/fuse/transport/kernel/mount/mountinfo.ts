import { readFile } from 'node:fs/promises';
import { SUBTYPE } from './options.ts';

/** A mount of ours, as this process sees it. */
export interface MountEntry {
  /** Device number of the file system as `major:minor`, which no two mounts have at once. */
  readonly device: string;
  readonly mountpoint: string;
  readonly type: string;
}

/**
 * The mount that one gets to at a path, if it is one of ours: the last one there.
 *
 * @param mountpoint a path as realpath(3) gives it
 */
export async function findMount(mountpoint: string): Promise<MountEntry | undefined> {
  const entry = parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8')).findLast(
    (mount) => mount.mountpoint === mountpoint,
  );
  return entry?.type === `fuse.${SUBTYPE}` ? entry : undefined;
}

/** Parses /proc/self/mountinfo; see proc_pid_mountinfo(5). Lines of another form are left out. */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(' ');
    const [, , device, , mountpoint] = fields;
    // Optional fields end with a lone hyphen; the type comes after it.
    const type = fields[fields.indexOf('-', 6) + 1];
    if (device === undefined || mountpoint === undefined || type === undefined) return [];
    return [{ device, mountpoint: unescape(mountpoint), type }];
  });
}

/** Spaces, tabs, newlines and backslashes are octal there. Paths need not be UTF-8, and then match none of ours. */
function unescape(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
