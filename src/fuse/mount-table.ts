import { readFile } from 'node:fs/promises';

/** The file system type of every mount of ours, as mount(8) and /proc/self/mountinfo show it. */
export const FS_SUBTYPE = 'dtool-ecs';
export const FS_TYPE = `fuse.${FS_SUBTYPE}`;

/**
 * The longest source that every mount(8) takes, in bytes: newer ones hand it to fsconfig(2), which takes 256 with the NUL
 * (source: Linux, fs/fsopen.c); older ones to mount(2), which takes a page.
 */
const SOURCE_MAX_BYTES = 255;

/** What the mount table shows as the source of a mount of some buckets: their names, as many as fit. */
export function sourceOf(buckets: readonly string[]): string {
  for (let shown = buckets.length; ; shown -= 1) {
    const more = shown === buckets.length ? [] : [`and-${buckets.length - shown}-more`];
    const source = [...buckets.slice(0, shown), ...more].join('+');
    if (Buffer.byteLength(source) <= SOURCE_MAX_BYTES || shown === 0) return source;
  }
}

export interface MountEntry {
  readonly mountpoint: string;
  readonly type: string;
  /** What is mounted; for ours the bucket or buckets. */
  readonly source: string;
  /** `major:minor` of the mounted device. */
  readonly device: string;
}

/** Everything that is mounted in this mount namespace, in the order of mounting (source: proc(5), mountinfo). */
export async function readMountTable(): Promise<readonly MountEntry[]> {
  return parseMountTable(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** The entries of a file as of proc(5), mountinfo. */
export function parseMountTable(text: string): readonly MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

/** The mount that is visible at a path, the topmost one when there are several. */
export async function findMount(mountpoint: string): Promise<MountEntry | undefined> {
  return (await readMountTable()).findLast((entry) => entry.mountpoint === mountpoint);
}

function parseLine(line: string): MountEntry {
  // The optional fields in the middle vary in number and end with a lone hyphen.
  const [before = '', after = ''] = line.split(' - ');
  const [, , device = '', , mountpoint = ''] = before.split(' ');
  const [type = '', source = ''] = after.split(' ');
  return { mountpoint: unescape(mountpoint), type, source: unescape(source), device };
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
