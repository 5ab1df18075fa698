import { fstatSync, write } from 'node:fs';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';

const writeSome = promisify(write);

/** Writes bytes to a descriptor; resolves when the system has taken all of them, in the order of the calls. */
export type Writer = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes all of some bytes to a file, at its end or where its descriptor stands. A system that takes a part of them, as on
 * a disk that becomes full, is asked again until it takes the rest or says why it does not.
 *
 * @param onWritten hears how many bytes the file has, each time that it has more
 * @throws the system's error
 */
export async function writeAll(
  fd: number,
  bytes: Uint8Array,
  onWritten: (length: number) => void = () => {},
): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await writeSome(fd, bytes, written, bytes.length - written, null);
    written += bytesWritten;
    onWritten(written);
  }
}

/**
 * The writer of standard output (1) or standard error (2). Node's own streams wait for a pipe or a terminal that is slow;
 * for files they drop what a full disk did not take (source: Node's lib/internal/fs/sync_write_stream.js), so not for these.
 */
export function standardWriter(fd: 1 | 2): Writer {
  const found = fstatSync(fd);
  if (!isatty(fd) && !found.isFIFO() && !found.isSocket()) {
    let last = Promise.resolve();
    return async (bytes) => {
      const turn = last.then(async () => writeAll(fd, bytes));
      last = turn.catch(() => {});
      return turn;
    };
  }
  const stream = fd === 1 ? process.stdout : process.stderr;
  // Each write hears of its own error.
  stream.on('error', () => {});
  return async (bytes) =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
}
