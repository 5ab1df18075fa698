import type { Attributes, Node, Timestamp } from '../../tree/node.ts';
import { FileType, StatxMask } from './abi/flags.ts';
import { Attr, AttrOut, EntryOut, Statx, StatxOut } from './abi/replies.ts';
import type { Connection } from './connection.ts';
import { cacheSeconds, entrySeconds } from './lifetimes.ts';

/** What st_blksize says: the grain of the page cache, whatever the store's is. */
const BLOCK_SIZE_BYTES = 4096;
const NANOSECONDS = 1e9;
/** S_ISUID and S_ISGID. */
const SET_ID = 0o6000;
const { set: attr } = Attr;
const { set: entry } = EntryOut;

/** Bytes of `fuse_attr_out`, `fuse_statx_out` and `fuse_entry_out`. */
export const ATTR_OUT_BYTES = AttrOut.size + Attr.size;
export const STATX_OUT_BYTES = StatxOut.size + Statx.size;
export const ENTRY_OUT_BYTES = EntryOut.size + Attr.size;

/** Writes `fuse_attr` at `base`. */
export function encodeAttributes(view: DataView, base: number, attributes: Attributes): void {
  attr.ino(view, base, attributes.ino);
  attr.size(view, base, attributes.size);
  attr.blocks(view, base, attributes.blocks);
  attr.atime(view, base, attributes.atime.seconds);
  attr.mtime(view, base, attributes.mtime.seconds);
  attr.ctime(view, base, attributes.ctime.seconds);
  attr.atimensec(view, base, attributes.atime.nanoseconds);
  attr.mtimensec(view, base, attributes.mtime.nanoseconds);
  attr.ctimensec(view, base, attributes.ctime.nanoseconds);
  attr.mode(view, base, (FileType[attributes.kind] << 12) | attributes.mode);
  attr.nlink(view, base, attributes.nlink);
  attr.uid(view, base, attributes.uid);
  attr.gid(view, base, attributes.gid);
  attr.rdev(view, base, 0);
  attr.blksize(view, base, BLOCK_SIZE_BYTES);
  attr.flags(view, base, 0);
}

/**
 * Returns the seconds that the kernel may keep attributes. Those of a file with set-user-id or set-group-id it must ask for
 * every time: a write takes these away, of which the kernel would not think by itself.
 */
function attributeSeconds(node: Node, { mode }: Attributes, connection: Connection): number {
  const loses = node.kind === 'file' && node.changes !== undefined && (mode & SET_ID) !== 0;
  return loses ? 0 : cacheSeconds(node.lifetime, connection.refreshSeconds);
}

/** Writes `fuse_attr_out` at `base`: {@link ATTR_OUT_BYTES}. */
export function encodeAttrOut(view: DataView, base: number, node: Node, connection: Connection): void {
  const attributes = node.attributes();
  const seconds = attributeSeconds(node, attributes, connection);
  AttrOut.set.attrValid(view, base, Math.floor(seconds));
  AttrOut.set.attrValidNsec(view, base, nanosecondsOf(seconds));
  view.setUint32(base + AttrOut.at.dummy, 0);
  encodeAttributes(view, base + AttrOut.size, attributes);
}

/**
 * Writes `fuse_statx_out` at `base`: {@link STATX_OUT_BYTES}.
 *
 * @param born when the node was made, where that is known
 */
export function encodeStatxOut(
  view: DataView,
  base: number,
  node: Node,
  connection: Connection,
  born: Timestamp | undefined,
): void {
  const attributes = node.attributes();
  const seconds = attributeSeconds(node, attributes, connection);
  new Uint8Array(view.buffer, view.byteOffset + base, STATX_OUT_BYTES).fill(0);
  StatxOut.set.attrValid(view, base, Math.floor(seconds));
  StatxOut.set.attrValidNsec(view, base, nanosecondsOf(seconds));
  const at = base + StatxOut.size;
  const { set } = Statx;
  set.mask(view, at, StatxMask.BASIC_STATS | (born ? StatxMask.BTIME : 0));
  set.blksize(view, at, BLOCK_SIZE_BYTES);
  set.nlink(view, at, attributes.nlink);
  set.uid(view, at, attributes.uid);
  set.gid(view, at, attributes.gid);
  set.mode(view, at, (FileType[attributes.kind] << 12) | attributes.mode);
  set.ino(view, at, attributes.ino);
  set.size(view, at, attributes.size);
  set.blocks(view, at, attributes.blocks);
  set.atime(view, at, attributes.atime.seconds);
  set.atimensec(view, at, attributes.atime.nanoseconds);
  set.mtime(view, at, attributes.mtime.seconds);
  set.mtimensec(view, at, attributes.mtime.nanoseconds);
  set.ctime(view, at, attributes.ctime.seconds);
  set.ctimensec(view, at, attributes.ctime.nanoseconds);
  if (!born) return;
  set.btime(view, at, born.seconds);
  set.btimensec(view, at, born.nanoseconds);
}

/**
 * Writes `fuse_entry_out` at `base`: {@link ENTRY_OUT_BYTES}. The caller counts the reference.
 *
 * @param attributes of the node, where they are at hand
 */
export function encodeEntryOut(
  view: DataView,
  base: number,
  parent: Node,
  node: Node,
  id: number,
  connection: Connection,
  attributes = node.attributes(),
): void {
  const entryValid = entrySeconds(parent, node, connection.refreshSeconds);
  const attrValid = attributeSeconds(node, attributes, connection);
  entry.nodeid(view, base, id);
  entry.generation(view, base, connection.inodes.generation(id));
  entry.entryValid(view, base, Math.floor(entryValid));
  entry.attrValid(view, base, Math.floor(attrValid));
  entry.entryValidNsec(view, base, nanosecondsOf(entryValid));
  entry.attrValidNsec(view, base, nanosecondsOf(attrValid));
  encodeAttributes(view, base + EntryOut.size, attributes);
}

/** Writes the `fuse_entry_out` that says "no such name, and none for so many seconds" at `base`. */
export function encodeNegativeEntryOut(view: DataView, base: number, seconds: number): void {
  new Uint8Array(view.buffer, view.byteOffset + base, ENTRY_OUT_BYTES).fill(0);
  entry.entryValid(view, base, Math.floor(seconds));
  entry.entryValidNsec(view, base, nanosecondsOf(seconds));
}

function nanosecondsOf(seconds: number): number {
  return Math.floor((seconds % 1) * NANOSECONDS);
}
