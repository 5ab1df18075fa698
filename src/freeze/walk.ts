import { isUtf8 } from 'node:buffer';
import { constants, type BigIntStats, type Dirent } from 'node:fs';
import { access, readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_FILE_CHECKS_MAX, FREEZE_ITEMS_MAX, OBJECT_MAX_BYTES } from '../limits.ts';
import { identifierOf } from '../ecs/dtool/identifier.ts';
import { RELPATH_MAX_BYTES } from '../ecs/dtool/item-metadata.ts';
import { ItemTable } from './item-table.ts';
import type { FreezeProblems } from './problems.ts';
import { sourceFile } from './source-file.ts';

export interface WalkOptions {
  /** Absolute and free of symbolic links: the directory that these may point into. */
  readonly root: string;
  /** The part of it that holds the items, as the start of their paths: empty, or ends with a slash. */
  readonly below: string;
  /** Whether an entry of the top directory is left out. */
  readonly skip: (name: string) => boolean;
  readonly problems: FreezeProblems;
  readonly signal: AbortSignal;
}

/**
 * All files of a directory, sorted by identifier. Symbolic links that stay inside the root are followed, to files and
 * to directories: the item has the content and the time of what the link leads to, as dtool's disk storage has it for
 * links to files. What can't be an item goes to the problems.
 *
 * @throws the signal's reason
 */
export async function walk(options: WalkOptions): Promise<ItemTable> {
  const items = await new Walk(options).run();
  items.sort();
  return items;
}

/** The directories that lead to one, itself included: a link to one of them would go round for ever. */
interface Ancestry {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly parent: Ancestry | undefined;
}

class Walk {
  readonly #options: WalkOptions;
  readonly #items: ItemTable;

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#items = new ItemTable(join(options.root, options.below));
  }

  async run(): Promise<ItemTable> {
    const { root, below, problems } = this.#options;
    const path = join(root, below);
    if (!isInside(root, await realpath(path))) {
      problems.refuse(below, 'is a symbolic link that leaves the directory; put a copy in its place');
      return this.#items;
    }
    const top = await stat(path, { bigint: true });
    await this.#directory('', { dev: top.dev, ino: top.ino, parent: undefined });
    return this.#items;
  }

  /** @param relpath empty, or ends with a slash */
  async #directory(relpath: string, ancestry: Ancestry): Promise<void> {
    const { skip, problems, signal } = this.#options;
    let entries: Dirent<Buffer>[];
    try {
      entries = await readdir(this.#pathOf(relpath), { encoding: 'buffer', withFileTypes: true });
    } catch (error) {
      return problems.refuse(this.#shown(relpath), `can't be read: ${messageOf(error)}`);
    }
    if (entries.length === 0 && relpath !== '')
      problems.warn(this.#shown(relpath), 'is an empty directory, which a dataset has no place for');
    const directories: { readonly relpath: string; readonly ancestry: Ancestry }[] = [];
    const visit = async (entry: Dirent<Buffer>): Promise<void> => {
      if (!isUtf8(entry.name)) {
        return problems.refuse(
          this.#shown(relpath + escaped(entry.name)),
          'has a name that is not UTF-8; rename it',
        );
      }
      const name = entry.name.toString();
      if (relpath === '' && skip(name)) return;
      const found = await this.#look(relpath + name, entry, ancestry);
      if (found) directories.push(found);
    };
    await forEachBounded(entries, FREEZE_FILE_CHECKS_MAX, visit, signal);
    for (const found of directories) await this.#directory(found.relpath, found.ancestry);
  }

  /** Takes a file, and tells of a directory. */
  async #look(
    relpath: string,
    entry: Dirent<Buffer>,
    parent: Ancestry,
  ): Promise<{ readonly relpath: string; readonly ancestry: Ancestry } | undefined> {
    const { problems, root } = this.#options;
    const refuse = (reason: string): undefined => {
      problems.refuse(this.#shown(relpath), reason);
    };
    const path = this.#pathOf(relpath);
    let stats: BigIntStats;
    try {
      if (entry.isSymbolicLink()) {
        if (!isInside(root, await realpath(path))) {
          return refuse('is a symbolic link that leaves the directory; put a copy in its place');
        }
      }
      stats = await stat(path, { bigint: true });
    } catch (error) {
      if (!entry.isSymbolicLink()) return refuse(`can't be read: ${messageOf(error)}`);
      return refuse(`is a symbolic link that leads nowhere; remove it (${messageOf(error)})`);
    }
    if (stats.isDirectory()) {
      for (let above: Ancestry | undefined = parent; above; above = above.parent) {
        if (above.ino === stats.ino && above.dev === stats.dev)
          return refuse('is a symbolic link to a directory that it is in; remove it');
      }
      return { relpath: `${relpath}/`, ancestry: { dev: stats.dev, ino: stats.ino, parent } };
    }
    if (!stats.isFile()) return refuse(`is ${kindOf(stats)}, which can't be an item; remove it`);
    if (relpath.includes('\n')) return refuse('has a line break in its path, which dtool refuses; rename it');
    if (Buffer.byteLength(relpath) > RELPATH_MAX_BYTES)
      return refuse(`has a path over ${RELPATH_MAX_BYTES} bytes, too long for S3 metadata; shorten it`);
    if (stats.size > OBJECT_MAX_BYTES)
      return refuse('is larger than 5 TiB, the most that an object of S3 can have; split it');
    try {
      await access(path, constants.R_OK);
    } catch (error) {
      return refuse(`can't be read: ${messageOf(error)}`);
    }
    if (this.#items.length === FREEZE_ITEMS_MAX)
      return refuse(`is one more than the ${FREEZE_ITEMS_MAX} items that a dataset can have; make several`);
    this.#items.add(relpath, identifierOf(relpath), sourceFile(path, stats));
    return undefined;
  }

  #pathOf(relpath: string): string {
    return join(this.#options.root, this.#options.below, relpath);
  }

  #shown(relpath: string): string {
    return this.#options.below + relpath;
  }
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root === '/' ? root : `${root}/`);
}

/** Bytes that are no UTF-8, readably and without loss. */
function escaped(name: Buffer): string {
  return Array.from(name, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}

function kindOf(stats: BigIntStats): string {
  if (stats.isFIFO()) return 'a named pipe';
  if (stats.isSocket()) return 'a socket';
  return stats.isBlockDevice() || stats.isCharacterDevice() ? 'a device' : 'no regular file';
}
