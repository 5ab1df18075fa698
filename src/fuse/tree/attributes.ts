import { isTimestamp } from '../../ecs/dtool/timestamp.ts';
import type { Attributes, Node, SpecialKind, Timestamp } from './node.ts';

/** Who owns every file of a mount, and what of its permission bits is taken away. */
export interface Ownership {
  readonly uid: number;
  readonly gid: number;
  /** As of umask(2): bits that no file and no directory has. */
  readonly umask: number;
}

/** Of what there is in a bucket. */
export type ReadOnlyKind = Exclude<Node['kind'], SpecialKind>;
const MODES: Readonly<Record<ReadOnlyKind, number>> = { file: 0o444, directory: 0o555, symlink: 0o777 };
const SECTOR_BYTES = 512;
const DIRECTORY_BYTES = 4096;

/** Attributes of something that nobody changes through the mount. */
export function readOnlyAttributes(
  kind: ReadOnlyKind,
  ownership: Ownership,
  ino: number,
  size: number,
  time: Timestamp,
): Attributes {
  const bytes = kind === 'directory' ? DIRECTORY_BYTES : size;
  return {
    ino,
    kind,
    mode: kind === 'symlink' ? MODES.symlink : MODES[kind] & ~ownership.umask,
    // 1 for a directory says that its subdirectories are not counted (so find(1) looks at every entry).
    nlink: 1,
    uid: ownership.uid,
    gid: ownership.gid,
    size: bytes,
    blocks: Math.ceil(bytes / SECTOR_BYTES),
    atime: time,
    mtime: time,
    ctime: time,
  };
}

/**
 * From seconds since the epoch as dtool writes them, fractions included and negative before 1970, to the nearest
 * microsecond: a double of this size is no more exact than that. What is no point in time (see {@link isTimestamp}) becomes 0.
 */
export function timestampOfSeconds(seconds: number): Timestamp {
  if (!isTimestamp(seconds)) return { seconds: 0, nanoseconds: 0 };
  const whole = Math.floor(seconds);
  const microseconds = Math.round((seconds - whole) * 1e6);
  return microseconds === 1e6
    ? { seconds: whole + 1, nanoseconds: 0 }
    : { seconds: whole, nanoseconds: microseconds * 1000 };
}

/** From milliseconds since the epoch. */
export function timestampOfMilliseconds(milliseconds: number): Timestamp {
  return timestampOfSeconds(milliseconds / 1000);
}
