import { Socket } from 'node:net';
import { messageOf } from '../../../../errors.ts';
import { StayAwake } from './stay-awake.ts';
import { GONE, MESSAGE_MAX_BYTES, messageOver, type Receiver, type ReceiverOptions } from './receiver.ts';

/** The handle behind a socket to a path: undocumented, and therefore looked at before it is used. */
interface PipeHandle {
  open(fd: number): number;
}
type PipeConstructor = new (type: number) => PipeHandle;

/** `PipeConstants.SOCKET`: an ordinary stream that passes no descriptors. */
const STREAM = 0;

/**
 * Reads the device through the event loop: libuv's pipe handle takes any descriptor that can be polled, sets it
 * non-blocking and reads it with one read(2) at a time, and on /dev/fuse one read is one request. Half the latency of a
 * worker, since nothing changes threads.
 *
 * @returns undefined when this Node has no such handle, or it does not take the descriptor: nothing was changed then
 */
export function receiveByPipe(options: ReceiverOptions): Receiver | undefined {
  const Pipe = pipeConstructor();
  if (Pipe === undefined) return undefined;
  const handle = new Pipe(STREAM);
  if (handle.open(options.device.fd) !== 0) return undefined;
  const socket = new DeviceSocket(handle, options);
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  socket.on('error', (error) => {
    if ('code' in error && GONE.includes(error.code)) return;
    options.log.error({ error: messageOf(error) }, 'reading requests failed');
  });
  socket.on('end', () => socket.destroy());
  socket.resume();
  return {
    mode: 'pipe',
    ended,
    async stop() {
      // Requests have to be answered until then, and a socket that is destroyed must get none: Node fails on it.
      await options.device.endNotifications();
      socket.destroy();
      return ended;
    },
  };
}

class DeviceSocket extends Socket {
  readonly #options: ReceiverOptions;

  constructor(handle: PipeHandle, options: ReceiverOptions) {
    const message = messageOver(new ArrayBuffer(MESSAGE_MAX_BYTES), 0);
    const awake = new StayAwake();
    const socketOptions = {
      handle,
      readable: true,
      writable: false,
      onread: {
        buffer: message.bytes,
        callback: (length: number) => {
          options.onMessage(message, length);
          awake.served();
          return true;
        },
      },
    };
    super(socketOptions);
    this.#options = options;
  }

  /** The handle closes the descriptor: before that nobody may be about to write to it. */
  // oxlint-disable-next-line no-underscore-dangle -- the name that streams give it
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // oxlint-disable-next-line no-underscore-dangle
    void this.#close(() => super._destroy(error, callback));
  }

  async #close(destroy: () => void): Promise<void> {
    const { device } = this.#options;
    await device.endNotifications();
    device.close();
    destroy();
  }
}

/** Takes the class of the handle from a socket that has begun to connect to a path, and gives the socket up. */
function pipeConstructor(): PipeConstructor | undefined {
  const probe = new Socket();
  probe.on('error', () => {});
  probe.connect({ path: '/dev/null' });
  const handle: unknown = Reflect.get(probe, '_handle');
  probe.destroy();
  if (typeof handle !== 'object' || handle === null || !('open' in handle)) return undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what has an open() and was made for a path is one
  return typeof handle.open === 'function' ? (handle.constructor as PipeConstructor) : undefined;
}
