import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { hasErrorCode, messageOf } from '../errors.ts';
import { isOurs, makePrivateDirectory } from '../private-files.ts';
import { KiB, METADATA_WRITE_AFTER_MS, MiB } from '../limits.ts';

/** Told apart from what other versions of the format, or other programs, may have left. */
const MAGIC = Buffer.from('dtool-ecs-mount metadata 1\n');
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const DIGEST_BYTES = 32;
const HEAD_BYTES = MAGIC.length + DIGEST_BYTES;
/** Read, written and hashed at a time: nothing else is held up for longer. */
const PIECE_BYTES = 512 * KiB;
/** After so many bytes written it is looked whether there are too many. */
const PRUNE_EVERY_BYTES = 64 * MiB;
/** Older temporary files are what a process that was killed has left. */
const TEMPORARY_MAX_AGE_MS = 3_600_000;

/**
 * What is known of buckets, on disk: a private directory of small files, each with a checksum over its name and all
 * that is in it. A file is written under another name and then renamed, so several processes may share the directory,
 * and one that is killed leaves nothing that is read. Deleting everything in it is always safe.
 *
 * Nothing here fails: what can't be read was not there, and what can't be written is told to the log and let be.
 */
export class MetadataCache {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #log: Logger;
  readonly #writeAfterMs: number;
  /** Writes one after the other, and how many there are. */
  #writing: Promise<void> = Promise.resolve();
  #queued = 0;
  readonly #closing = new AbortController();
  #unpruned = PRUNE_EVERY_BYTES;

  /**
   * @param directory is made, with mode 0700, when there is something to write
   * @param maxBytes of all files together; those that were not used for longest go first
   * @param writeAfterMs how long what is new waits, for those who need it to get on; lost if the process is killed before
   */
  constructor(directory: string, maxBytes: number, log: Logger, writeAfterMs = METADATA_WRITE_AFTER_MS) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#log = log;
    this.#writeAfterMs = writeAfterMs;
  }

  /**
   * The parts that were put under a name.
   *
   * @returns undefined where there are none, or what there is has been damaged, and is gone now
   */
  async get(name: string): Promise<readonly Uint8Array[] | undefined> {
    const path = this.#pathOf(name);
    try {
      await using file = await open(path, READ);
      const found = await file.stat();
      const { size } = found;
      if (!found.isFile() || !isOurs(found)) throw new Error('it belongs to somebody else');
      if (size > this.#maxBytes || size < HEAD_BYTES) throw new Error('it has a wrong size');
      const head = Buffer.allocUnsafe(HEAD_BYTES);
      const body = new Uint8Array(size - HEAD_BYTES);
      if ((await file.read(head, 0, HEAD_BYTES, 0)).bytesRead < HEAD_BYTES)
        throw new Error('it is too short');
      const hash = createHash('sha256').update(name).update('\0');
      for (let at = 0; at < body.length; ) {
        const length = Math.min(PIECE_BYTES, body.length - at);
        const { bytesRead } = await file.read(body, at, length, HEAD_BYTES + at);
        if (bytesRead === 0) throw new Error('it became shorter');
        hash.update(body.subarray(at, at + bytesRead));
        at += bytesRead;
      }
      const expected = Buffer.concat([MAGIC, hash.digest()]);
      if (!expected.equals(head)) throw new Error('its checksum is wrong');
      const parts = unpack(body);
      const now = new Date();
      await utimes(path, now, now).catch(() => {});
      return parts;
    } catch (error) {
      if (hasErrorCode(error, 'ENOENT')) return undefined;
      this.#log.warn({ path, error: messageOf(error) }, 'metadata in the cache can not be used');
      await rm(path, { force: true }).catch(() => {});
      return undefined;
    }
  }

  /**
   * Puts parts under a name, in place of what was there: not at once, since whoever has got something new is about to use
   * it. Resolves when that is done or has failed.
   */
  async put(name: string, parts: readonly Uint8Array[]): Promise<void> {
    if (this.#queued === 0) this.#writing = this.#pause();
    this.#queued += 1;
    this.#writing = this.#writing
      .then(async () => this.#write(name, parts))
      .finally(() => {
        this.#queued -= 1;
      });
    return this.#writing;
  }

  /** Resolves when all that was put before is on disk; nothing waits any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#writing;
  }

  async #pause(): Promise<void> {
    const { signal } = this.#closing;
    await sleep(this.#writeAfterMs, undefined, { signal }).catch(() => {});
  }

  async #write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const path = this.#pathOf(name);
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      await makePrivateDirectory(this.#directory);
      const packed = pack(parts);
      const bytes = packed.reduce((sum, { length }) => sum + length, HEAD_BYTES);
      if (bytes > this.#maxBytes) return;
      await using file = await open(temporary, 'wx', 0o600);
      const hash = createHash('sha256').update(name).update('\0');
      let at = HEAD_BYTES;
      for (const part of packed) {
        for (let from = 0; from < part.length; from += PIECE_BYTES) {
          const piece = part.subarray(from, from + PIECE_BYTES);
          hash.update(piece);
          await file.write(piece, 0, piece.length, at);
          at += piece.length;
        }
      }
      await file.write(Buffer.concat([MAGIC, hash.digest()]), 0, HEAD_BYTES, 0);
      await rename(temporary, path);
      this.#unpruned += bytes;
      if (this.#unpruned >= PRUNE_EVERY_BYTES) await this.#prune();
    } catch (error) {
      this.#log.warn({ path, error: messageOf(error) }, 'metadata can not be written to the cache');
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** Removes what is too much, and what killed processes have left. */
  async #prune(): Promise<void> {
    this.#unpruned = 0;
    const files: { readonly path: string; readonly size: number; readonly usedAt: number }[] = [];
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      try {
        const { size, mtimeMs } = await stat(path);
        const isLeft = name.endsWith('.tmp') && Date.now() - mtimeMs > TEMPORARY_MAX_AGE_MS;
        if (isLeft) await rm(path, { force: true });
        else files.push({ path, size, usedAt: mtimeMs });
      } catch (error) {
        // Another process was faster.
        if (!hasErrorCode(error, 'ENOENT')) throw error;
      }
    }
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.toSorted((a, b) => a.usedAt - b.usedAt)) {
      if (bytes <= this.#maxBytes) return;
      await rm(path, { force: true });
      bytes -= size;
    }
  }

  #pathOf(name: string): string {
    return join(this.#directory, createHash('sha256').update(name).digest('hex').slice(0, 40));
  }
}

const ALIGN_BYTES = 8;

/** The number of parts and their lengths as doubles, then the parts, each from a multiple of 8 bytes on. */
function pack(parts: readonly Uint8Array[]): readonly Uint8Array[] {
  const lengths = Float64Array.from([parts.length, ...parts.map(({ length }) => length)]);
  return [
    new Uint8Array(lengths.buffer),
    ...parts.flatMap((part) => [part, new Uint8Array(paddingAfter(part.length))]),
  ];
}

function unpack(body: Uint8Array): readonly Uint8Array[] {
  const { buffer } = body;
  const [count = 0] = new Float64Array(buffer, 0, 1);
  let at = (1 + count) * Float64Array.BYTES_PER_ELEMENT;
  return Array.from(new Float64Array(buffer, Float64Array.BYTES_PER_ELEMENT, count), (length) => {
    const part = new Uint8Array(buffer, at, length);
    at += length + paddingAfter(length);
    return part;
  });
}

function paddingAfter(length: number): number {
  return (ALIGN_BYTES - (length % ALIGN_BYTES)) % ALIGN_BYTES;
}
