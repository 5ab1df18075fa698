import { type BigIntStats, constants, type Dirent } from 'node:fs';
import { access, type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { hasErrorCode, UserError } from './errors.ts';
import { CONTAINED_DIRECTORIES_MAX } from './limits.ts';

/** Linux has it with this value on every architecture that Node runs on; Node does not name it. */
const O_PATH = 0x200000;
const DIRECTORY = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Without O_NONBLOCK a FIFO that took a file's place would wait for its writer for ever. */
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
/** As many symbolic links as the kernel follows for one path (MAXSYMLINKS). */
const LINKS_MAX = 40;

/** A path was refused since one of its components is a symbolic link. */
export class SymbolicLinkError extends Error {
  override readonly name = 'SymbolicLinkError';
  readonly code = 'ELOOP';
  /** The place of the link. */
  readonly place: string;

  constructor(place: string) {
    super(`${place} is a symbolic link`);
    this.place = place;
  }
}

/** An open directory, by a path that stays true while it is held. */
interface Held extends Disposable {
  readonly path: string;
}

interface Entry {
  readonly handle: Promise<FileHandle>;
  users: number;
}

/**
 * A directory that is held open, and whose files are opened from it, component by component: whatever others rename, remove
 * or put in the place of anything meanwhile, nothing outside of it is ever opened. (What openat2(2) does with RESOLVE_BENEATH
 * and RESOLVE_NO_SYMLINKS, without native code: each step goes through /proc/self/fd and follows no link.)
 *
 * A place is a path below the directory, without a slash at its end; the empty one is the directory itself.
 */
export class ContainedDirectory implements AsyncDisposable {
  /** Absolute and free of symbolic links, as it was when the directory was opened. For messages, and for the texts of links. */
  readonly path: string;
  /** The start of absolute links that lead into it. */
  readonly #names: readonly string[];
  readonly #root: FileHandle;
  /** Open directories, the least recently used first; those without users are closed when there are too many. */
  readonly #entries = new Map<string, Entry>();
  /** Paths in use. */
  #users = 0;
  #isClosed = false;
  #onIdle: (() => void) | undefined;

  private constructor(path: string, names: readonly string[], root: FileHandle) {
    this.path = path;
    this.#names = names;
    this.#root = root;
  }

  /**
   * @param path absolute; leads to the directory, through symbolic links, too
   * @throws the file system's error; UserError where the system has no /proc
   */
  static async open(path: string): Promise<ContainedDirectory> {
    const root = await open(path, O_PATH | constants.O_DIRECTORY);
    try {
      const real = await readlink(`/proc/self/fd/${root.fd}`).catch((cause: unknown) => {
        throw new UserError('/proc is needed, and not mounted', 'Mount it, or freeze on another machine.', {
          cause,
        });
      });
      return new ContainedDirectory(real, [real, path], root);
    } catch (error) {
      await root.close();
      throw error;
    }
  }

  /**
   * Opens a file to read it, through links that stay inside as well. It need not be a regular one: a FIFO or a device that
   * is inside is opened, and does not block.
   *
   * @throws SymbolicLinkError for a link that leaves the directory; the file system's error
   */
  async openFile(place: string): Promise<FileHandle> {
    try {
      return await this.openPlain(place);
    } catch (error) {
      if (!(error instanceof SymbolicLinkError)) throw error;
      const resolved = await this.resolve(place);
      if (resolved === undefined) throw error;
      return this.openPlain(resolved);
    }
  }

  /**
   * The same, through no link at all.
   *
   * @throws SymbolicLinkError for a link anywhere in the place; the file system's error
   */
  async openPlain(place: string): Promise<FileHandle> {
    return this.#within(place, async (path) => {
      try {
        return await open(path, FILE);
      } catch (error) {
        throw hasErrorCode(error, 'ELOOP') ? new SymbolicLinkError(place) : error;
      }
    });
  }

  /**
   * lstat(2).
   *
   * @throws SymbolicLinkError for a link before the last component; the file system's error
   */
  async lstat(place: string): Promise<BigIntStats> {
    if (place === '') return this.#root.stat({ bigint: true });
    return this.#within(place, async (path) => lstat(path, { bigint: true }));
  }

  /**
   * Makes sure that a file may be read; opens nothing.
   *
   * @throws as {@link lstat}
   */
  async assertReadable(place: string): Promise<void> {
    return this.#within(place, async (path) => access(path, constants.R_OK));
  }

  /**
   * The entries of a directory, in any order.
   *
   * @throws SymbolicLinkError for a link anywhere in the place; the file system's error
   */
  async readDirectory(place: string): Promise<readonly Dirent<Buffer>[]> {
    using held = await this.#hold(place);
    return await readdir(held.path, { encoding: 'buffer', withFileTypes: true });
  }

  /**
   * Follows links. Looks at nothing outside: a path that leaves the directory, and one that leads back by another name than
   * the directory's own or the one that it was opened by, counts as one that leaves it.
   *
   * @returns the place without links of what is there, or undefined where it leaves the directory
   * @throws the file system's error where a link leads nowhere, or round and round
   */
  async resolve(place: string): Promise<string | undefined> {
    let done: string[] = [];
    let rest = place.split('/');
    for (let links = 0; rest.length > 0; ) {
      const [name = '', ...others] = rest;
      rest = others;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (done.pop() !== undefined) continue;
        const back = this.#wayBack(rest);
        if (back === undefined) return undefined;
        rest = back;
        continue;
      }
      const here = [...done, name].join('/');
      const target = await this.#targetOf(here);
      if (target === undefined) {
        done.push(name);
        continue;
      }
      links += 1;
      if (links > LINKS_MAX) throw new Error('too many symbolic links in a row');
      if (target.startsWith('/')) {
        const inside = this.#insideOf(target);
        if (inside === undefined) return undefined;
        done = [];
        rest = [...inside, ...rest];
      } else {
        rest = [...target.split('/'), ...rest];
      }
    }
    return done.join('/');
  }

  /** Closes it, once what was begun has ended; what is asked afterwards fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    // A descriptor that is closed under a path in use would stand for another file.
    if (this.#users > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const { handle } of entries) await (await handle.catch(() => undefined))?.close();
    await this.#root.close();
  }

  /** @returns undefined where there is something else than a link */
  async #targetOf(place: string): Promise<string | undefined> {
    return this.#within(place, async (path) => {
      try {
        return await readlink(path);
      } catch (error) {
        if (hasErrorCode(error, 'EINVAL')) return undefined;
        throw error;
      }
    });
  }

  /** The components below the directory of a path that begins in the one above it. */
  #wayBack(components: readonly string[]): string[] | undefined {
    const above = this.path.split('/').slice(0, -1);
    const rest = [...components];
    while (rest[0] === '..' || rest[0] === '.' || rest[0] === '') if (rest.shift() === '..') above.pop();
    return this.#insideOf([...above, ...rest].join('/'));
  }

  /** The components below the directory of an absolute path that names it. */
  #insideOf(path: string): string[] | undefined {
    for (const name of this.#names) {
      if (path === name) return [];
      if (path.startsWith(name === '/' ? name : `${name}/`)) return path.slice(name.length).split('/');
    }
    return undefined;
  }

  /** Does something with a path of which only the last component can have become something else. */
  async #within<T>(place: string, act: (path: string) => Promise<T>): Promise<T> {
    const slash = place.lastIndexOf('/');
    using held = await this.#hold(place.slice(0, Math.max(0, slash)));
    return await act(`${held.path}/${place.slice(slash + 1)}`);
  }

  async #hold(place: string): Promise<Held> {
    if (this.#isClosed) throw new Error(`${this.path} was closed`);
    this.#users += 1;
    if (place === '')
      return { path: `/proc/self/fd/${this.#root.fd}`, [Symbol.dispose]: () => this.#leave() };
    const entry = this.#entries.get(place) ?? { handle: this.#openDirectory(place), users: 0 };
    this.#entries.delete(place);
    this.#entries.set(place, entry);
    entry.users += 1;
    try {
      const { fd } = await entry.handle;
      return { path: `/proc/self/fd/${fd}`, [Symbol.dispose]: () => this.#release(entry) };
    } catch (error) {
      if (this.#entries.get(place) === entry) this.#entries.delete(place);
      this.#leave();
      throw error;
    }
  }

  #leave(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#onIdle?.();
  }

  #release(entry: Entry): void {
    entry.users -= 1;
    this.#leave();
    for (const [place, { users, handle }] of this.#entries) {
      if (this.#entries.size <= CONTAINED_DIRECTORIES_MAX) return;
      if (users > 0) continue;
      this.#entries.delete(place);
      // It is open: its users have had it.
      void handle.then((opened) => opened.close());
    }
  }

  async #openDirectory(place: string): Promise<FileHandle> {
    return this.#within(place, async (path) => {
      try {
        return await open(path, DIRECTORY);
      } catch (error) {
        // A link is no directory to O_NOFOLLOW.
        const isLink =
          hasErrorCode(error, 'ENOTDIR') && (await lstat(path).catch(() => undefined))?.isSymbolicLink();
        throw isLink || hasErrorCode(error, 'ELOOP') ? new SymbolicLinkError(place) : error;
      }
    });
  }
}

/**
 * Opens one file below a directory, as {@link ContainedDirectory.openPlain} does.
 *
 * @param path of the file, absolute, begins with the directory's
 */
export async function openBeneath(directory: string, path: string): Promise<FileHandle> {
  await using contained = await ContainedDirectory.open(directory);
  return await contained.openPlain(path.slice(directory.length + 1));
}
