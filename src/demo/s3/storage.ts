import type { Checksum } from './checksum.ts';

/** What is kept of a bucket besides its objects. */
export interface BucketRecord {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly created: number;
  /** The text of its policy, as it was put. */
  readonly policy?: string | undefined;
}

/** What is kept of an object besides its content. */
export interface ObjectRecord {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly lastModified: number;
  /** Headers that go out as they came in: Content-Type and the like; names in lower case, values as header bytes. */
  readonly headers: Readonly<Record<string, string>>;
  /** User metadata: names in lower case without `x-amz-meta-`, values as header bytes. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly checksum?: Checksum | undefined;
}

/** Content that is complete and never changes. */
export interface Content {
  /**
   * Opens the content at once, so that it can be read to its end whatever happens to its object meanwhile. The reader
   * must be closed.
   */
  open(): ContentReader;
  /** Gives the content up that no object was made of. */
  discard(): void;
}

export interface ContentReader {
  /** The bytes from `start` up to and without `end`, which must be in the content. The pieces are not to be changed. */
  read(start: number, end: number): Iterable<Buffer> | AsyncIterable<Buffer>;
  close(): void;
}

/** Content that is arriving. Ends with either `finish` or `discard`. */
export interface ContentWriter {
  /** Appends a copy of the piece. */
  write(piece: Buffer): Promise<void> | void;
  /** @param record what to keep with the content; absent for content that no object is made of */
  finish(record?: ObjectRecord): Promise<Content>;
  discard(): Promise<void>;
}

export interface SavedBucket {
  readonly bucket: BucketRecord;
  readonly objects: Iterable<SavedObject>;
}

export interface SavedObject {
  readonly record: ObjectRecord;
  readonly content: Content;
}

/**
 * Where buckets and contents are kept. Content arrives in its own time; what then decides who sees what (`saveObject`
 * and the like) happens at once, so that it can share a turn of the event loop with the check that it relies on.
 *
 * Every method throws the file system's error where one is involved.
 */
export interface Storage {
  /** What an earlier run kept. */
  load(): Iterable<SavedBucket>;
  saveBucket(bucket: BucketRecord): void;
  /** Removes an empty bucket. */
  removeBucket(name: string): void;
  newContent(): Promise<ContentWriter>;
  /** Puts content in the place of whatever the key had. It must have been finished with this record. */
  saveObject(bucket: string, record: ObjectRecord, content: Content): void;
  removeObject(bucket: string, key: string): void;
  /** Removes what is of no use after the run. */
  close(): void;
}
