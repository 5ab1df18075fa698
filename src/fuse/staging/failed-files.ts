import { constants } from 'node:fs';
import { ERRNO, nameOfErrno } from '../../errno.ts';
import { messageOf, type FsErrorCode } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { forEachBounded } from '../../for-each-bounded.ts';
import { FAILED_FILES_ROOM_BYTES, LOCAL_LISTING_CHECKS_MAX } from '../../limits.ts';
import * as local from './local-files.ts';

/** Bytes of a mark: inode and error number in decimal, padded with blanks, and a line break. */
const MARK_BYTES = 32;
const MARK = /^(\d+) +(\d+) *\n$/;

interface Mark {
  readonly code: FsErrorCode;
  /** Its place in the file, from 0. */
  readonly slot: number;
}

/**
 * Files of a staging area whose content may not be what programs wrote, because a write, a sync or a close failed. A freeze
 * refuses them. A file is known by its inode, so a mark follows it to other names; it ends when the file is written anew or
 * removed.
 *
 * Marks outlive the mount. They have a file whose room is taken beforehand, as the reason for a mark is often that there is no
 * more: setting one overwrites a place in it.
 */
export class FailedFiles {
  readonly #path: string;
  /** Undefined where the file can not be had. */
  readonly #fd: number | undefined;
  readonly #log: Logger;
  readonly #marks = new Map<bigint, Mark>();
  readonly #free: number[] = [];
  #slots = 0;
  /** Changes to the file come one after the other. */
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, fd: number | undefined, log: Logger) {
    this.#path = path;
    this.#fd = fd;
    this.#log = log;
  }

  /** Opens the marks of an area, after making their file where it is missing. What fails is logged: files can be staged without. */
  static async open(path: string, log: Logger): Promise<FailedFiles> {
    try {
      const fd = await local.open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
      const files = new FailedFiles(path, fd, log);
      await files.#load();
      return files;
    } catch (error) {
      const files = new FailedFiles(path, undefined, log);
      files.#forgets(error);
      return files;
    }
  }

  get size(): number {
    return this.#marks.size;
  }

  /** Returns how a file failed first; undefined for one that did not. */
  codeOf(ino: bigint): FsErrorCode | undefined {
    return this.#marks.get(ino)?.code;
  }

  /** Returns the files below a directory that failed, by their paths below it: all names of each. */
  async below(directory: string): Promise<ReadonlyMap<string, FsErrorCode>> {
    const found = new Map<string, FsErrorCode>();
    const directories = this.#marks.size === 0 ? [] : [''];
    for (let above = directories.pop(); above !== undefined; above = directories.pop()) {
      const parent = above;
      // The freeze finds for itself what can't be read.
      const names = await local.readdir(`${directory}/${parent}`).catch(() => []);
      const look = async (name: string): Promise<void> => {
        const path = parent + name;
        const stat = await local.lstat(`${directory}/${path}`).catch(() => undefined);
        const code = stat?.isFile() ? this.codeOf(stat.ino) : undefined;
        if (code !== undefined) found.set(path, code);
        else if (stat?.isDirectory()) directories.push(`${path}/`);
      };
      await forEachBounded(names, LOCAL_LISTING_CHECKS_MAX, look);
    }
    return found;
  }

  /** Marks a file, at once for this mount; resolves when the mark is on disk, or the log says why it is not. */
  async add(ino: bigint, code: FsErrorCode): Promise<void> {
    if (this.#marks.has(ino)) return this.#last;
    const slot = this.#free.pop() ?? this.#slots++;
    this.#marks.set(ino, { code, slot });
    return this.#write(slot, `${ino} `.padEnd(MARK_BYTES / 2) + ERRNO[code]);
  }

  /** Takes a mark away, if there is one; resolves as {@link add} does. */
  async delete(ino: bigint): Promise<void> {
    const mark = this.#marks.get(ino);
    if (!mark) return;
    this.#marks.delete(ino);
    await this.#write(mark.slot, '');
    this.#free.push(mark.slot);
  }

  async close(): Promise<void> {
    await this.#last;
    if (this.#fd !== undefined) await local.close(this.#fd);
  }

  async #load(): Promise<void> {
    const fd = this.#fd ?? -1;
    const bytes = Buffer.from(await local.read(fd, 0, Number((await local.stat(fd)).size)));
    this.#slots = Math.floor(bytes.length / MARK_BYTES);
    for (let slot = 0; slot < this.#slots; slot += 1) {
      const [, ino = '', errno] =
        MARK.exec(bytes.toString('latin1', slot * MARK_BYTES, (slot + 1) * MARK_BYTES)) ?? [];
      if (ino === '') this.#free.push(slot);
      else this.#marks.set(BigInt(ino), { code: nameOfErrno(Number(errno)) ?? 'EIO', slot });
    }
    const room = FAILED_FILES_ROOM_BYTES / MARK_BYTES - this.#slots;
    if (room <= 0) return;
    const blank = `${' '.repeat(MARK_BYTES - 1)}\n`.repeat(room);
    await this.#write(this.#slots, blank.slice(0, -1));
    for (let slot = this.#slots + room - 1; slot >= this.#slots; slot -= 1) this.#free.push(slot);
    this.#slots += room;
  }

  async #write(slot: number, text: string): Promise<void> {
    const earlier = this.#last;
    const write = async (): Promise<void> => {
      await earlier;
      await this.#writeNow(slot, Buffer.from(`${text.padEnd(MARK_BYTES - 1)}\n`));
    };
    this.#last = write();
    return this.#last;
  }

  async #writeNow(slot: number, bytes: Uint8Array): Promise<void> {
    if (this.#fd === undefined) return;
    try {
      await local.write(this.#fd, slot * MARK_BYTES, bytes);
      await local.sync(this.#fd, true);
    } catch (error) {
      this.#forgets(error);
    }
  }

  #forgets(error: unknown): void {
    this.#log.error(
      { path: this.#path, error: messageOf(error) },
      'the next mount may not know which staged files failed to be written',
    );
  }
}
