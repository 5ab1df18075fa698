import { UserError } from '../../../../errors.ts';
import { receiveByPipe } from './pipe.ts';
import type { ReceiveMode, Receiver, ReceiverOptions } from './receiver.ts';
import { receiveByWorker } from './worker.ts';

/**
 * Starts to read requests, through the event loop where that works and else in a thread.
 *
 * @throws UserError when the mode was asked for and does not work here; the descriptor is still open then
 */
export function startReceiver(mode: ReceiveMode, options: ReceiverOptions): Receiver {
  if (mode === 'worker') return receiveByWorker(options);
  const receiver = receiveByPipe(options);
  if (receiver !== undefined) return receiver;
  if (mode === 'pipe') {
    throw new UserError(
      `Node ${process.version} can't read requests through its event loop`,
      'Leave out --receive, or use --receive worker.',
    );
  }
  options.log.warn({ node: process.version }, 'no pipe handle for /dev/fuse; requests are read in a thread');
  return receiveByWorker(options);
}
