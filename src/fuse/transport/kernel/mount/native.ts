import type Koffi from 'koffi';
import { UserError, messageOf } from '../../../../errors.ts';

/**
 * The two system calls that a user's mount needs and Node has not: a pair of connected sockets, and receiving a
 * descriptor through one of them. Both by way of koffi, which is loaded only here.
 */
export interface Native {
  /** Two connected descriptors, closed on exec. */
  socketPair(): [number, number];
  /** The descriptor that is waiting at a socket, closed on exec, or undefined if there is none. Does not wait. */
  receiveDescriptor(socket: number): number | undefined;
}

// Values of Linux on every architecture that Node runs on.
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Room for one control message with a few descriptors. */
const CONTROL_BYTES = 64;

/** @throws UserError when koffi is not installed or does not load */
export async function loadNative(): Promise<Native> {
  const koffi = await loadKoffi();
  const libc = koffi.load(null);
  const errno = () => new Error(`errno ${koffi.errno()}`);
  const iovec = koffi.struct({ base: 'void *', length: 'size_t' });
  // struct msghdr; where musl has an int and padding in place of a size_t, the bytes are the same.
  const msghdr = koffi.struct({
    name: 'void *',
    namelen: 'uint32_t',
    iov: koffi.pointer(iovec),
    iovlen: 'size_t',
    control: 'void *',
    controllen: 'size_t',
    flags: 'int',
  });
  const socketpair = libc.func('socketpair', 'int', ['int', 'int', 'int', koffi.out(koffi.pointer('int'))]);
  const recvmsg = libc.func('recvmsg', 'intptr_t', ['int', koffi.inout(koffi.pointer(msghdr)), 'int']);
  // struct cmsghdr: a size_t, two ints, then the descriptors.
  const sizeBytes = koffi.sizeof('size_t');
  return {
    socketPair() {
      const pair: [number, number] = [-1, -1];
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) !== 0) throw errno();
      return pair;
    },
    receiveDescriptor(socket) {
      const data = Buffer.alloc(1);
      const control = Buffer.alloc(CONTROL_BYTES);
      const message = {
        name: null,
        namelen: 0,
        iov: [{ base: data, length: data.byteLength }],
        iovlen: 1,
        control,
        controllen: CONTROL_BYTES,
        flags: 0,
      };
      if (recvmsg(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return undefined;
      const view = new DataView(control.buffer, control.byteOffset, CONTROL_BYTES);
      const [level, type, fd] = new Int32Array(control.buffer, control.byteOffset + sizeBytes, 3);
      if (view.getUint8(0) === 0 || level !== SOL_SOCKET || type !== SCM_RIGHTS) return undefined;
      return fd;
    },
  };
}

async function loadKoffi(): Promise<typeof Koffi> {
  try {
    const module = await import('koffi');
    return module.default;
  } catch (error) {
    throw new UserError(
      `mounting without being root needs the package koffi, which does not load: ${messageOf(error)}`,
      'Reinstall without --omit=optional, mount as root, or use --transport fuse-native.',
      { cause: error },
    );
  }
}
