import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  read as readCallback,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { messageOf, UserError } from '../../errors.ts';
import { MiB } from '../../limits.ts';
import type {
  BucketRecord,
  Content,
  ContentReader,
  ContentWriter,
  ObjectRecord,
  SavedBucket,
  SavedObject,
  Storage,
} from './storage.ts';

const READ_BYTES = 1 * MiB;
/** Ends every object file; the last digit is the version of the layout. */
const MAGIC = Buffer.from('S3OBJ001');
const FOOTER_BYTES = 4 + MAGIC.length;

const readAt = promisify(readCallback);

const bucketSchema: z.ZodType<BucketRecord> = z.object({
  name: z.string(),
  created: z.number(),
  policy: z.string().optional(),
});
const recordSchema: z.ZodType<ObjectRecord> = z.object({
  key: z.string(),
  size: z.number(),
  etag: z.string(),
  lastModified: z.number(),
  headers: z.record(z.string(), z.string()),
  metadata: z.record(z.string(), z.string()),
  checksum: z
    .object({
      name: z.enum(['crc32', 'sha1', 'sha256']),
      value: z.string(),
      type: z.enum(['FULL_OBJECT', 'COMPOSITE']),
    })
    .optional(),
});

/**
 * Keeps everything in a directory, for the next run:
 *
 *     tmp/<random>                                        content that is arriving; emptied at start and at the end
 *     buckets/<bucket>/bucket.json                        the bucket's record
 *     buckets/<bucket>/objects/<hh>/<SHA-256 of the key>  an object; hh are the first two digits of the hash
 *
 * An object is one file: its content, its record as JSON, the length of that JSON (4 bytes, big endian) and a magic
 * number. It is written elsewhere and renamed into its place, so that an object is there whole or not at all. Files
 * have mode 0600, directories 0700. Nothing is synchronised to disk: what was stored survives the end of the process,
 * not a failure of power. One server at a time may use a directory. Multipart uploads in progress end with the process.
 */
export class DirectoryStorage implements Storage {
  readonly #tmp: string;
  readonly #buckets: string;

  /** @param directory is created where it is missing */
  constructor(directory: string) {
    this.#tmp = join(directory, 'tmp');
    this.#buckets = join(directory, 'buckets');
    rmSync(this.#tmp, { recursive: true, force: true });
    mkdirSync(this.#tmp, { recursive: true, mode: 0o700 });
    mkdirSync(this.#buckets, { recursive: true, mode: 0o700 });
  }

  /** @throws UserError for a file that is none of this storage's, or damaged */
  *load(): Generator<SavedBucket, void, undefined> {
    for (const name of readdirSync(this.#buckets)) {
      const bucket = bucketSchema.parse(JSON.parse(readFileSync(this.#bucketFile(name), 'utf8')));
      yield { bucket, objects: this.#loadObjects(name) };
    }
  }

  *#loadObjects(bucket: string): Generator<SavedObject, void, undefined> {
    const directory = join(this.#buckets, bucket, 'objects');
    for (const fan of readdirSync(directory)) {
      for (const name of readdirSync(join(directory, fan))) {
        const path = join(directory, fan, name);
        try {
          yield { record: readRecord(path), content: new FileContent(path) };
        } catch (error) {
          throw new UserError(
            `${path} is no object of this server, or damaged: ${messageOf(error)}`,
            'Remove the file, or give the server another directory.',
            { cause: error },
          );
        }
      }
    }
  }

  saveBucket(bucket: BucketRecord): void {
    mkdirSync(join(this.#buckets, bucket.name, 'objects'), { recursive: true, mode: 0o700 });
    const path = join(this.#tmp, randomUUID());
    writeFileSync(path, JSON.stringify(bucket), { mode: 0o600 });
    renameSync(path, this.#bucketFile(bucket.name));
  }

  removeBucket(name: string): void {
    const directory = join(this.#buckets, name);
    const objects = join(directory, 'objects');
    // Not recursive: an object that is there all the same must not be lost.
    for (const fan of readdirSync(objects)) rmdirSync(join(objects, fan));
    rmdirSync(objects);
    rmSync(this.#bucketFile(name));
    rmdirSync(directory);
  }

  async newContent(): Promise<ContentWriter> {
    const path = join(this.#tmp, randomUUID());
    return new FileWriter(path, await open(path, 'wx', 0o600));
  }

  saveObject(bucket: string, record: ObjectRecord, content: Content): void {
    if (!(content instanceof FileContent)) throw new TypeError('The content is of another storage');
    const path = this.#objectFile(bucket, record.key);
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    content.moveTo(path);
  }

  removeObject(bucket: string, key: string): void {
    rmSync(this.#objectFile(bucket, key));
  }

  close(): void {
    rmSync(this.#tmp, { recursive: true, force: true });
  }

  #bucketFile(bucket: string): string {
    return join(this.#buckets, bucket, 'bucket.json');
  }

  #objectFile(bucket: string, key: string): string {
    const hash = createHash('sha256').update(key).digest('hex');
    return join(this.#buckets, bucket, 'objects', hash.slice(0, 2), hash);
  }
}

function readRecord(path: string): ObjectRecord {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const readPart = (start: number, length: number): Buffer => {
      const part = Buffer.alloc(length);
      if (start < 0 || readSync(fd, part, 0, length, start) !== length) throw new Error('it is too short');
      return part;
    };
    const footer = readPart(size - FOOTER_BYTES, FOOTER_BYTES);
    if (!footer.subarray(4).equals(MAGIC)) throw new Error('its end is missing');
    const length = footer.readUInt32BE(0);
    const contentBytes = size - FOOTER_BYTES - length;
    const record = recordSchema.parse(JSON.parse(readPart(contentBytes, length).toString('utf8')));
    if (record.size !== contentBytes) throw new Error('its size is not the one that was recorded');
    return record;
  } finally {
    closeSync(fd);
  }
}

class FileWriter implements ContentWriter {
  readonly #path: string;
  readonly #file: FileHandle;

  constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  async write(piece: Buffer): Promise<void> {
    await this.#file.writeFile(piece);
  }

  async finish(record?: ObjectRecord): Promise<Content> {
    if (record) {
      const json = Buffer.from(JSON.stringify(record));
      const length = Buffer.alloc(4);
      length.writeUInt32BE(json.length);
      await this.#file.writeFile(Buffer.concat([json, length, MAGIC]));
    }
    await this.#file.close();
    return new FileContent(this.#path);
  }

  async discard(): Promise<void> {
    await this.#file.close();
    rmSync(this.#path, { force: true });
  }
}

class FileContent implements Content {
  #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  moveTo(path: string): void {
    renameSync(this.#path, path);
    this.#path = path;
  }

  open(): ContentReader {
    return new FileReader(openSync(this.#path, 'r'));
  }

  discard(): void {
    rmSync(this.#path, { force: true });
  }
}

class FileReader implements ContentReader {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async *read(start: number, end: number): AsyncGenerator<Buffer, void, undefined> {
    for (let at = start; at < end; ) {
      const length = Math.min(READ_BYTES, end - at);
      const { bytesRead, buffer } = await readAt(this.#fd, Buffer.allocUnsafe(length), 0, length, at);
      if (bytesRead === 0) throw new Error('The file ends before its content does');
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
