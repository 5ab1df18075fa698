import type { Socket } from 'node:net';
import { CONTROL_MESSAGE_MAX_BYTES } from './limits.ts';

/** What commands and mounts send each other: lines of JSON. */

/** A line from a mount. */
export interface Answer {
  /** Of a line that is not the last. */
  readonly progress?: unknown;
  readonly result?: unknown;
  readonly error?: {
    readonly message: string;
    readonly advice?: string | undefined;
    /** Of a mount that is not there yet. */
    readonly isStarting?: boolean | undefined;
  };
}

/**
 * Reads until a line is the last.
 *
 * @param isLast takes each line without its end, and says whether to stop there
 */
export function readLines(socket: Socket, isLast: (line: string) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: string): void => {
      text += chunk;
      try {
        for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          if (!isLast(line)) continue;
          socket.off('data', onData);
          return resolve();
        }
      } catch (error) {
        return reject(error);
      }
      if (text.length > CONTROL_MESSAGE_MAX_BYTES) reject(new Error('message too long'));
    };
    socket.setEncoding('utf8');
    socket.on('data', onData);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection ended in the middle of a message')));
  });
}
