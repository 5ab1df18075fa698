import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import type { OpenableFile } from './file-hasher.ts';
import { filePieces } from './file-pieces.ts';

/** A file that was looked at. */
export interface SourceFile extends OpenableFile, FileState {}

/** What tells whether a file is still the same. */
export interface FileState {
  /** Bytes. */
  readonly size: number;
  /** Since the epoch, before which it is negative; of all 64 bits of seconds that the kernel has. */
  readonly mtimeNs: bigint;
  /** Above 2^53 these are the nearest number that there is, which is good enough to tell files apart. */
  readonly dev: number;
  readonly ino: number;
}

/** A file changed, or was removed, between the plan and the end of its upload. */
export class SourceChangedError extends UserError {
  constructor(path: string, options?: { readonly cause?: unknown }) {
    super(
      `${path} changed while it was frozen`,
      'Wait until nothing writes to it, then freeze again: what is uploaded already stays.',
      options,
    );
  }
}

export function fileState(stats: BigIntStats): FileState {
  return {
    size: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    dev: Number(stats.dev),
    ino: Number(stats.ino),
  };
}

/**
 * Makes sure that a file is what it was.
 *
 * @throws SourceChangedError
 */
export async function assertUnchanged(file: SourceFile): Promise<void> {
  await (await openUnchanged(file)).close();
}

/**
 * The content of a small file.
 *
 * @throws SourceChangedError when it is not what it was, before or after it was read
 */
export async function readSourceFile(file: SourceFile): Promise<Buffer> {
  await using handle = await openUnchanged(file);
  const content = Buffer.allocUnsafe(file.size);
  let length = 0;
  while (length < content.length) {
    const { bytesRead } = await handle.read(content, length, content.length - length, length);
    if (bytesRead === 0) throw new SourceChangedError(file.path);
    length += bytesRead;
  }
  compare(file, await handle.stat({ bigint: true }));
  return content;
}

/**
 * The content of a file, or of a part of it, as {@link filePieces}. It fails with a SourceChangedError, before its last
 * piece, when the file is not what it was.
 *
 * @param onRead called with the number of bytes of every piece
 */
export async function* streamSourceFile(
  file: SourceFile,
  onRead: (bytes: number) => void,
  { start, end } = { start: 0, end: file.size },
): AsyncGenerator<Buffer, void, undefined> {
  await using handle = await openUnchanged(file);
  let position = start;
  for await (const piece of filePieces(handle, start, end)) {
    position += piece.length;
    if (position === end) compare(file, await handle.stat({ bigint: true }));
    onRead(piece.length);
    yield piece;
  }
  if (position < end) throw new SourceChangedError(file.path);
}

async function openUnchanged(file: SourceFile): Promise<FileHandle> {
  const handle = await file.open().catch(goneFrom(file));
  try {
    compare(file, await handle.stat({ bigint: true }));
  } catch (error) {
    await handle.close();
    throw error;
  }
  return handle;
}

function compare(file: SourceFile, now: BigIntStats): void {
  const same =
    now.isFile() &&
    Number(now.size) === file.size &&
    now.mtimeNs === file.mtimeNs &&
    Number(now.ino) === file.ino &&
    Number(now.dev) === file.dev;
  if (!same) throw new SourceChangedError(file.path);
}

const goneFrom =
  (file: SourceFile) =>
  (cause: unknown): never => {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP')
      throw new SourceChangedError(file.path, { cause });
    throw cause;
  };
