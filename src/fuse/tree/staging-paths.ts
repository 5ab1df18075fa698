import { FsError } from '../../errors.ts';
import { LOCAL_DEEP_DIRECTORIES_MAX, LOCAL_PATH_MAX_BYTES, NAME_MAX_BYTES } from '../../limits.ts';
import * as local from '../staging/local-files.ts';
import type { PathLock } from '../staging/path-lock.ts';
import type { StagedDirectory } from './staging-directory.ts';
import type { Place } from './staging-names.ts';

/** So that a slash and any name may follow. */
const DIRECTORY_PATH_MAX_BYTES = LOCAL_PATH_MAX_BYTES - 1 - NAME_MAX_BYTES;

/**
 * Paths of staged directories on the local disk, of any depth. A system call takes no path of more than 4,095 bytes; below
 * that depth a path begins with a directory that is kept open for it. Where /proc is missing, there are only short ones.
 *
 * An open directory stays the same wherever it is moved, and a path through it says which one it is by a number that will
 * stand for another file when it was closed. So it is closed only while nobody has the path lock.
 */
export class StagedPaths {
  readonly #lock: PathLock;
  readonly #failed: (error: unknown) => void;
  /** Descriptors, those that were used last at the end. */
  readonly #open = new Map<StagedDirectory, number>();
  #unused: number[] = [];

  /** @param failed hears of a directory that could not be closed */
  constructor(lock: PathLock, failed: (error: unknown) => void) {
    this.#lock = lock;
    this.#failed = failed;
  }

  /**
   * The path of a directory, good for as long as a share of the path lock is held. A name may follow it. It is never an
   * open directory itself, which would be a symbolic link to that.
   *
   * @throws FsError ENOENT when it has no name any more, ESTALE when its folder was removed
   */
  of(directory: StagedDirectory): string {
    const above = way(directory);
    const [first] = above;
    if (!first?.top) throw new FsError('ENOENT', 'a directory that was removed');
    first.top.requireThere();
    // Characters are bytes at least: the whole of a way of any length need not be put together.
    let characters = first.top.path.length;
    for (const { name } of above) characters += 1 + name.length;
    if (characters <= DIRECTORY_PATH_MAX_BYTES + 1) {
      const whole = [first.top.path, ...above.slice(1).map(({ name }) => name)].join('/');
      if (Buffer.byteLength(whole) <= DIRECTORY_PATH_MAX_BYTES) return whole;
    }
    return this.#deep(above, first.top.path);
  }

  #deep(above: readonly StagedDirectory[], top: string): string {
    let path = top;
    let from = 1;
    for (let at = above.length - 2; at > 0; at -= 1) {
      const open = this.#used(above[at]);
      if (open === undefined) continue;
      path = open;
      from = at + 1;
      break;
    }
    let bytes = Buffer.byteLength(path);
    for (let at = from; at < above.length; at += 1) {
      const name = above[at]?.name ?? '';
      const more = 1 + Buffer.byteLength(name);
      if (bytes + more > DIRECTORY_PATH_MAX_BYTES && at > 1) {
        path = this.#keep(above[at - 1], path);
        bytes = path.length;
      }
      path += `/${name}`;
      bytes += more;
    }
    return path;
  }

  #used(directory: StagedDirectory | undefined): string | undefined {
    const fd = directory && this.#open.get(directory);
    if (directory === undefined || fd === undefined) return undefined;
    this.#open.delete(directory);
    this.#open.set(directory, fd);
    return pathOf(fd);
  }

  #keep(directory: StagedDirectory | undefined, path: string): string {
    if (!directory || !local.hasDescriptorPaths()) return path;
    const fd = local.openDirectoryNow(path);
    this.#open.set(directory, fd);
    const [oldest] = this.#open;
    if (oldest && this.#open.size > LOCAL_DEEP_DIRECTORIES_MAX) {
      this.#open.delete(oldest[0]);
      this.#unused.push(oldest[1]);
      if (this.#unused.length === 1) void this.#lock.alone(async () => this.#closeUnused());
    }
    return pathOf(fd);
  }

  async #closeUnused(): Promise<void> {
    const unused = this.#unused;
    this.#unused = [];
    for (const fd of unused) await local.close(fd).catch(this.#failed);
  }
}

/** The path below its folder. */
export function relpathOf({ directory, name }: Place): string {
  return [...way(directory).map((each) => each.name), name].slice(1).join('/');
}

/**
 * The path from the root of the local file system, which is good until it is renamed; undefined where that is too long for a
 * path, or nothing is there any more.
 */
export function lastingPathOf(place: Place): string | undefined {
  const { folder } = place.directory;
  if (folder?.isThere !== true) return undefined;
  const path = `${folder.path}/${relpathOf(place)}`;
  return Buffer.byteLength(path) > LOCAL_PATH_MAX_BYTES ? undefined : path;
}

/** The directories that lead to one, from the top of its folder, if it is in one, to itself. */
function way(directory: StagedDirectory): readonly StagedDirectory[] {
  const above: StagedDirectory[] = [];
  for (let at: StagedDirectory | undefined = directory; at; at = at.top ? undefined : at.parent)
    above.push(at);
  return above.toReversed();
}

function pathOf(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
