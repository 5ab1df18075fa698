import { KERNEL_CACHED_LISTING_ENTRIES_MAX } from '../../../../limits.ts';
import type { Attributes, DirectoryEntries, DirectoryEntry, Node } from '../../../tree/node.ts';
import { FileType, OpenFlag } from '../abi/flags.ts';
import { DIRENT_ALIGN_BYTES, Dirent } from '../abi/replies.ts';
import { OpenIn, ReadIn } from '../abi/requests.ts';
import { ENTRY_OUT_BYTES, encodeEntryOut } from '../attributes.ts';
import type { Connection } from '../connection.ts';
import { REPLY_BODY, REPLY_BODY_MAX_BYTES, replyBytes, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import { replyOpen } from './files.ts';
import type { Handler } from './handler.ts';

/** Every listing starts with `.` and `..`, so the entry of index i has position i + 2. */
const DOTS = ['.', '..'];
/** Inode number of `..`, which nodes do not know; libfuse says the same. */
const UNKNOWN_INO = 0xffffffff;

/**
 * OPENDIR: the entries are taken now. The kernel may keep a short listing of what is frozen; of what changes it would
 * take an old listing, read late, for the present one.
 */
export const opendir: Handler = {
  input: OpenIn,
  async handle(connection, request) {
    const { operations } = connection;
    const node = connection.node(request);
    const handle = await operations.openDirectory(node, request.signalFor(node), request.uid);
    const keep =
      node.lifetime === 'forever' &&
      node.changes === undefined &&
      operations.entries(handle).length <= KERNEL_CACHED_LISTING_ENTRIES_MAX;
    const flags = keep ? OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR : 0;
    if (!replyOpen(request, handle, flags)) operations.release(handle);
  },
};

/** READDIR: names, inode numbers and types. */
export const readdir: Handler = listing(Dirent.size, (connection, request, range) => {
  let at = REPLY_BODY;
  eachEntry(connection, request, range, (name, _, attributes, position, end) => {
    const next = encodeDirent(at, end, name, attributes, position);
    at = next ?? at;
    return next !== undefined;
  });
  request.reply(at - REPLY_BODY);
});

/**
 * READDIRPLUS: the same with attributes, and with each entry except `.` and `..` a reference as of LOOKUP. What the
 * kernel is told here it believes: of a listing that changes have overtaken it gets the names alone.
 */
export const readdirplus: Handler = listing(ENTRY_OUT_BYTES + Dirent.size, (connection, request, range) => {
  const { inodes } = connection;
  const parent = connection.node(request);
  const current = connection.operations.isCurrent(range.handle);
  const remembered: number[] = [];
  let at = REPLY_BODY;
  eachEntry(connection, request, range, (name, node, attributes, position, end) => {
    const next = encodeDirent(at + ENTRY_OUT_BYTES, end, name, attributes, position);
    if (next === undefined) return false;
    if (position < DOTS.length || !current) {
      replyBytes.fill(0, at, at + ENTRY_OUT_BYTES);
    } else {
      const id = inodes.remember(node);
      remembered.push(id);
      encodeEntryOut(replyView, at, parent, node, id, connection, attributes);
    }
    at = next;
    return true;
  });
  if (!request.reply(at - REPLY_BODY)) for (const id of remembered) inodes.forget(id, 1);
});

/** The part of a listing that is asked for. */
interface Range {
  readonly handle: number;
  /** Position of the first entry. */
  readonly offset: number;
  /** Room for entries in bytes. */
  readonly size: number;
  /** Has those that there is room for. */
  readonly entries: DirectoryEntries;
}

/**
 * A listing is read in parts; one that begins again, as rewinddir(3) does, has what has changed meanwhile.
 *
 * @param entryBytes what an entry takes, less its name
 */
function listing(
  entryBytes: number,
  reply: (connection: Connection, request: Request, range: Range) => void,
): Handler {
  return {
    input: ReadIn,
    handle(connection, request) {
      const { operations } = connection;
      const { view } = request;
      const handle = ReadIn.get.fh(view, BODY);
      const offset = ReadIn.get.offset(view, BODY);
      const size = Math.min(ReadIn.get.size(view, BODY), REPLY_BODY_MAX_BYTES);
      const read = (): void | Promise<void> => {
        const count = Math.ceil(size / (entryBytes + DIRENT_ALIGN_BYTES));
        const some = operations.someEntries(handle, Math.max(offset - DOTS.length, 0), count);
        const answer = (entries: DirectoryEntries): void =>
          reply(connection, request, { handle, offset, size, entries });
        return some instanceof Promise ? some.then(answer) : answer(some);
      };
      if (offset > 0 || operations.isCurrent(handle)) return read();
      return operations.relist(handle, request.signalFor(connection.node(request))).then(read);
    },
  };
}

/** Calls `visit` with the entries from the offset that is asked for on, until it returns false. */
function eachEntry(
  connection: Connection,
  request: Request,
  { entries, offset, size }: Range,
  visit: (name: string, node: Node, attributes: Attributes, position: number, end: number) => boolean,
): void {
  const directory = connection.node(request);
  const end = REPLY_BODY + size;
  for (let position = offset; position < entries.length + DOTS.length; position++) {
    const dot = DOTS[position];
    if (dot !== undefined) {
      const own = directory.attributes();
      const attributes = position === 0 ? own : { ...own, ino: UNKNOWN_INO };
      if (!visit(dot, directory, attributes, position, end)) return;
      continue;
    }
    const entry: DirectoryEntry | undefined = entries.at(position - DOTS.length);
    if (entry === undefined) continue;
    // Made when it is asked for.
    const { node } = entry;
    if (!visit(entry.name, node, attributesOf(node, entry), position, end)) return;
  }
}

/** While a name is being changed its node may be out of reach. */
function attributesOf(node: Node, { attributes }: DirectoryEntry): Attributes {
  try {
    return node.attributes();
  } catch (error) {
    if (attributes === undefined) throw error;
    return attributes;
  }
}

/** Writes `fuse_dirent` at `at` and returns where the next one goes, or undefined when it would go past `end`. */
function encodeDirent(
  at: number,
  end: number,
  name: string,
  { ino, kind }: Attributes,
  position: number,
): number | undefined {
  const start = at + Dirent.size;
  const length = Buffer.byteLength(name);
  const next = start + Math.ceil(length / DIRENT_ALIGN_BYTES) * DIRENT_ALIGN_BYTES;
  if (next > end) return undefined;
  replyBytes.write(name, start, length);
  replyBytes.fill(0, start + length, next);
  Dirent.set.ino(replyView, at, ino);
  Dirent.set.off(replyView, at, position + 1);
  Dirent.set.namelen(replyView, at, length);
  Dirent.set.type(replyView, at, FileType[kind]);
  return next;
}
