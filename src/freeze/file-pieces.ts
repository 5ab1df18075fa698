import { FREEZE_READ_BYTES } from '../limits.ts';

/** What is needed of a `FileHandle` of node:fs/promises. */
export interface ReadableFile {
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
}

/**
 * The bytes of a file from one position to another, or to its end where that comes first, piece by piece: the next one is
 * read while the caller has this one. A piece is overwritten after the next is asked for, so that two buffers do for any
 * file.
 */
export async function* filePieces(
  file: ReadableFile,
  start: number,
  end: number,
): AsyncGenerator<Buffer, void, undefined> {
  const bytes = Math.min(FREEZE_READ_BYTES, end - start);
  let position = start;
  const read = async (buffer: Buffer): Promise<Buffer> => {
    const { bytesRead } = await file.read(buffer, 0, Math.min(bytes, end - position), position);
    position += bytesRead;
    return buffer.subarray(0, bytesRead);
  };
  let [next, other] = [Buffer.allocUnsafeSlow(bytes), Buffer.allocUnsafeSlow(bytes)];
  let reading = read(next);
  try {
    for (let piece = await reading; piece.length > 0; piece = await reading) {
      [next, other] = [other, next];
      reading = position < end ? read(next) : NOTHING;
      // It is the caller's once that asks for the piece; until then nobody waits for it.
      reading.catch(() => {});
      yield piece;
    }
  } finally {
    // Who gives up closes the file, and drops the buffers, which must not be in the middle of a read.
    await Promise.allSettled([reading]);
  }
}

const NOTHING = Promise.resolve(Buffer.of());
