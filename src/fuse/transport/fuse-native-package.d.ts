/** The part of fuse-native 2.2 that is used here; the package has no types of its own. */
declare module 'fuse-native' {
  export type Reply = (error: number) => void;
  type ReplyWith<T> = (error: number, value?: T) => void;

  export interface Stat {
    mode: number;
    uid: number;
    gid: number;
    size: number;
    nlink: number;
    /** Cut to 32 bits. */
    ino: number;
    blocks: number;
    blksize: number;
    /** Milliseconds since the epoch; fractions are dropped. */
    atime: number;
    mtime: number;
    ctime: number;
  }

  export interface Statfs {
    bsize: number;
    frsize: number;
    blocks: number;
    bfree: number;
    bavail: number;
    files: number;
    ffree: number;
    favail: number;
    namemax: number;
  }

  export interface Handlers {
    access(path: string, mode: number, reply: Reply): void;
    statfs(path: string, reply: ReplyWith<Statfs>): void;
    getattr(path: string, reply: ReplyWith<Stat>): void;
    readdir(path: string, reply: (error: number, names?: string[], stats?: Stat[]) => void): void;
    readlink(path: string, reply: ReplyWith<string>): void;
    open(path: string, flags: number, reply: ReplyWith<number>): void;
    /** The reply is the number of bytes that were put into the buffer, or a negative errno. */
    read(path: string, fh: number, buffer: Buffer, length: number, position: number, reply: Reply): void;
    release(path: string, fh: number, reply: Reply): void;
    /** As fuse-native.ts makes it of the package's own: the room may be of no bytes, and the reply is as that of `read`. */
    getxattr(path: string, name: string, room: Buffer, reply: Reply): void;
    listxattr(path: string, room: Buffer, reply: Reply): void;
    /** The buffer is free with the reply, which is as that of `read`. */
    write(path: string, fh: number, buffer: Buffer, length: number, position: number, reply: Reply): void;
    flush(path: string, handle: number, reply: Reply): void;
    fsync(path: string, dataOnly: number, fh: number, reply: Reply): void;
    fsyncdir(path: string, dataOnly: number, fh: number, reply: Reply): void;
    setxattr(path: string, name: string, value: Buffer, position: number, flags: number, reply: Reply): void;
    removexattr(path: string, name: string, reply: Reply): void;
    chmod(path: string, mode: number, reply: Reply): void;
    chown(path: string, uid: number, gid: number, reply: Reply): void;
    truncate(path: string, size: number, reply: Reply): void;
    /** Milliseconds; the second is the first once more, whatever was asked for. */
    utimens(path: string, atime: number, mtime: number, reply: Reply): void;
    mknod(path: string, mode: number, device: number, reply: Reply): void;
    mkdir(path: string, mode: number, reply: Reply): void;
    create(path: string, mode: number, reply: ReplyWith<number>): void;
    unlink(path: string, reply: Reply): void;
    rmdir(path: string, reply: Reply): void;
    rename(from: string, to: string, reply: Reply): void;
    link(from: string, to: string, reply: Reply): void;
    symlink(target: string, path: string, reply: Reply): void;
  }

  export interface Options {
    timeout: false;
    allowOther: boolean;
    defaultPermissions: boolean;
    autoCache: boolean;
    entryTimeout: number;
    attrTimeout: number;
    /** Written into libfuse's option string as it is: what comes after a comma is further options. */
    fsname: string;
    subtype: string;
  }

  export default class Fuse {
    constructor(
      mountpoint: string,
      handlers: { [K in keyof Handlers]?: Handlers[K] | undefined },
      options: Partial<Options>,
    );
    mount(callback: (error: Error | null) => void): void;
  }
}
