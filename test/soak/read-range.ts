import { type FileHandle } from 'node:fs/promises';

/**
 * Bytes of a file, fewer only at its end. A read(2) may give fewer because the mount went away in the middle of it, which
 * the next one then says; `readFile` takes that for the end.
 */
export async function readRange(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) return bytes.subarray(0, filled);
    filled += bytesRead;
  }
  return bytes;
}
