import { LOCAL_QUICK_AGAIN_TIMES, LOCAL_QUICK_MS } from '../../limits.ts';

/** File systems of local disks, by their numbers in statfs(2): ext2 to 4, XFS, Btrfs, tmpfs, overlayfs, ZFS, F2FS, bcachefs. */
const LOCAL_TYPES: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1, 0xf2f52010, 0xca451a4e,
]);

/**
 * Whether the local disk answers at once. It does nearly always: names and attributes are changed in memory, and going to
 * a thread of the pool and back takes ten times as long as the change. But a journal that is full, or a disk that is
 * written to more than it can take, makes every call wait, and while one waits on the thread that serves the mount nobody
 * is served. So after one that took long all calls go to the pool for many times as long: little of the time is lost that
 * way, however slow the disk. On a network file system they always do.
 */
class Pace {
  #slowUntil = Number.POSITIVE_INFINITY;
  #isLocal = false;

  /** Whether files are on a local disk, where a write that was answered can't fail later on close(2). */
  get isLocal(): boolean {
    return this.#isLocal;
  }

  /** Whether calls may be made on this thread. */
  get isQuick(): boolean {
    return this.#slowUntil <= performance.now();
  }

  /** @param type of the file system that files are on, as statfs(2) has it */
  startOn(type: number): void {
    this.#isLocal = LOCAL_TYPES.has(type);
    this.#slowUntil = this.#isLocal ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Makes a call on this thread. */
  measure<T>(call: () => T): T {
    const begin = performance.now();
    try {
      return call();
    } finally {
      const end = performance.now();
      const took = end - begin;
      if (took > LOCAL_QUICK_MS) this.#slowUntil = end + took * LOCAL_QUICK_AGAIN_TIMES;
    }
  }
}

export const pace = new Pace();
