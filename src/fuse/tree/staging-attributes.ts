import type { BigIntStats } from 'node:fs';
import { LOCAL_ATTRIBUTES_MAX } from '../../limits.ts';
import type { Attributes, Node, Timestamp } from './node.ts';

const PERMISSIONS = 0o7777;
const NANOSECONDS = 1_000_000_000n;

/** @param ino the inode number that is shown */
export function attributesOf(stat: BigIntStats, ino: number): Attributes {
  return {
    ino,
    kind: kindOf(stat) ?? 'file',
    mode: Number(stat.mode) & PERMISSIONS,
    nlink: Number(stat.nlink),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    blocks: Number(stat.blocks),
    atime: timestampOf(stat.atimeNs),
    mtime: timestampOf(stat.mtimeNs),
    ctime: timestampOf(stat.ctimeNs),
  };
}

/** Undefined for what nobody can have made here: devices. */
export function kindOf(stat: BigIntStats): Node['kind'] | undefined {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isFIFO()) return 'fifo';
  return stat.isSocket() ? 'socket' : undefined;
}

/** Times before 1970 have a negative second and nanoseconds after it. */
export function timestampOf(nanoseconds: bigint): Timestamp {
  const rest = ((nanoseconds % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number((nanoseconds - rest) / NANOSECONDS), nanoseconds: Number(rest) };
}

/** A node that knows its attributes, and can ask for them again. */
interface Knowing {
  forgetAttributes(): void;
}

/**
 * The nodes that were looked at last, {@link LOCAL_ATTRIBUTES_MAX} of them, which know their attributes: those of all that
 * the kernel remembers would take most of the memory, and are seldom asked for.
 */
export class RecentlyLooked {
  readonly #nodes: Knowing[] = [];
  #next = 0;

  add(node: Knowing): void {
    const before = this.#nodes[this.#next];
    if (before !== node) before?.forgetAttributes();
    this.#nodes[this.#next] = node;
    this.#next = (this.#next + 1) % LOCAL_ATTRIBUTES_MAX;
  }
}
