import { isUtf8 } from 'node:buffer';
import type { BigIntStats, Dirent } from 'node:fs';
import type { ContainedDirectory } from '../contained-directory.ts';
import { messageOf } from '../errors.ts';
import { forEachBounded } from '../for-each-bounded.ts';
import { FREEZE_FILE_CHECKS_MAX, FREEZE_ITEMS_MAX, OBJECT_MAX_BYTES } from '../limits.ts';
import { identifierOf } from '../ecs/dtool/identifier.ts';
import { isItemTime } from '../ecs/dtool/timestamp.ts';
import { RELPATH_MAX_BYTES } from '../ecs/dtool/item-metadata.ts';
import { ignoring } from './ignore.ts';
import { ItemTable } from './item-table.ts';
import type { FreezeProblems } from './problems.ts';
import { fileState } from './source-file.ts';

const TOO_LONG = `has a path over ${RELPATH_MAX_BYTES} bytes, too long for S3 metadata; shorten it`;

export interface WalkOptions {
  /** The directory that symbolic links may point into. */
  readonly folder: ContainedDirectory;
  /** The part of it that holds the items, as the start of their paths: empty, or ends with a slash. */
  readonly below: string;
  /** Whether an entry of the top directory is left out. */
  readonly skip: (name: string) => boolean;
  /** Patterns of items that are left out and told of, see `ignoring`. */
  readonly ignore?: readonly string[] | undefined;
  /** Whether the times of the files become those of the items, so that dtool has to be able to hold them. */
  readonly usesTimes: boolean;
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

interface FoundDirectory {
  /** Empty, or ends with a slash. */
  readonly relpath: string;
  /** Without links, below the folder. */
  readonly place: string;
  readonly ancestry: Ancestry;
}

class Walk {
  readonly #isIgnored: (relpath: string) => boolean;
  readonly #options: WalkOptions;
  readonly #items: ItemTable;

  constructor(options: WalkOptions) {
    this.#isIgnored = ignoring(options.ignore ?? []);
    this.#options = options;
    this.#items = new ItemTable(options.folder, options.below);
  }

  async run(): Promise<ItemTable> {
    const { folder, below, problems } = this.#options;
    const place = await folder.resolve(below);
    if (place === undefined) {
      problems.refuse(below, 'is a symbolic link that leaves the directory; put a copy in its place');
      return this.#items;
    }
    const { dev, ino } = await folder.lstat(place);
    await this.#directory({ relpath: '', place, ancestry: { dev, ino, parent: undefined } });
    return this.#items;
  }

  async #directory({ relpath, place, ancestry }: FoundDirectory): Promise<void> {
    const { folder, skip, problems, signal } = this.#options;
    let entries: readonly Dirent<Buffer>[];
    try {
      entries = await folder.readDirectory(place);
    } catch (error) {
      return problems.refuse(this.#shown(relpath), unreadable(relpath, error));
    }
    if (entries.length === 0 && relpath !== '')
      problems.warn(this.#shown(relpath), 'is an empty directory, which a dataset has no place for');
    const directories: FoundDirectory[] = [];
    const visit = async (entry: Dirent<Buffer>): Promise<void> => {
      if (!isUtf8(entry.name)) {
        return problems.refuse(
          this.#shown(relpath + escaped(entry.name)),
          'has a name that is not UTF-8; rename it',
        );
      }
      const name = entry.name.toString();
      if (relpath === '' && skip(name)) return;
      if (this.#isIgnored(relpath + name))
        return problems.warn(this.#shown(relpath + name), 'is left out, as --ignore says');
      const found = await this.#look(relpath + name, place === '' ? name : `${place}/${name}`, ancestry);
      if (found) directories.push(found);
    };
    await forEachBounded(entries, FREEZE_FILE_CHECKS_MAX, visit, signal);
    for (const found of directories) await this.#directory(found);
  }

  /**
   * Takes a file, and tells of a directory.
   *
   * @param entry its place
   */
  async #look(relpath: string, entry: string, parent: Ancestry): Promise<FoundDirectory | undefined> {
    const { problems, folder } = this.#options;
    const refuse = (reason: string): undefined => {
      problems.refuse(this.#shown(relpath), reason);
    };
    let place: string | undefined = entry;
    let stats: BigIntStats;
    try {
      stats = await folder.lstat(entry);
    } catch (error) {
      return refuse(unreadable(relpath, error));
    }
    if (stats.isSymbolicLink()) {
      try {
        place = await folder.resolve(entry);
        if (place === undefined)
          return refuse('is a symbolic link that leaves the directory; put a copy in its place');
        stats = await folder.lstat(place);
      } catch (error) {
        return refuse(`is a symbolic link that leads nowhere; remove it (${messageOf(error)})`);
      }
    }
    if (stats.isDirectory()) {
      for (let above: Ancestry | undefined = parent; above; above = above.parent) {
        if (above.ino === stats.ino && above.dev === stats.dev)
          return refuse('is a symbolic link to a directory that it is in; remove it');
      }
      return { relpath: `${relpath}/`, place, ancestry: { dev: stats.dev, ino: stats.ino, parent } };
    }
    if (!stats.isFile()) return refuse(`is ${kindOf(stats)}, which can't be an item; remove it`);
    if (relpath.includes('\n')) return refuse('has a line break in its path, which dtool refuses; rename it');
    if (Buffer.byteLength(relpath) > RELPATH_MAX_BYTES) return refuse(TOO_LONG);
    if (this.#options.usesTimes && !isItemTime(stats.mtimeNs))
      return refuse(
        `has a time before the year 1 or after 9999 (${stats.mtimeNs / 1_000_000_000n} s since 1970), which dtool can't ` +
          'hold; give it another with touch',
      );
    if (stats.size > OBJECT_MAX_BYTES)
      return refuse('is larger than 5 TiB, the most that an object of S3 can have; split it');
    try {
      await folder.assertReadable(place);
    } catch (error) {
      return refuse(`can't be read: ${messageOf(error)}`);
    }
    if (this.#items.length === FREEZE_ITEMS_MAX)
      return refuse(`is one more than the ${FREEZE_ITEMS_MAX} items that a dataset can have; make several`);
    this.#items.add(relpath, identifierOf(relpath), fileState(stats));
    return undefined;
  }

  #shown(relpath: string): string {
    return this.#options.below + relpath;
  }
}

/** What is too long for an item may be too long for the system calls, too. */
function unreadable(relpath: string, error: unknown): string {
  return Buffer.byteLength(relpath) > RELPATH_MAX_BYTES ? TOO_LONG : `can't be read: ${messageOf(error)}`;
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
