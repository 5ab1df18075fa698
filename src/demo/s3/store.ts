import { randomUUID } from 'node:crypto';
import type { Checksum, ChecksumName } from './checksum.ts';
import { listPage, type Listing, type ListQuery } from './listing.ts';
import { parseBucketPolicy, type Policy } from './policy.ts';
import { S3Error } from './s3-error.ts';
import { SortedMap } from './sorted-map.ts';
import type { Content, ContentWriter, ObjectRecord, Storage } from './storage.ts';

export interface StoredObject extends ObjectRecord {
  readonly content: Content;
}

export interface Part {
  readonly number: number;
  /** Bytes. */
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  readonly lastModified: number;
  readonly checksum: Checksum | undefined;
  readonly content: Content;
}

/** A multipart upload in progress. */
export interface Upload {
  readonly id: string;
  readonly key: string;
  readonly initiated: number;
  /** Of the object that it will be. */
  readonly headers: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly checksumName: ChecksumName | undefined;
  readonly parts: Map<number, Part>;
}

export interface Bucket {
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly created: number;
  readonly policy: { readonly text: string; readonly parsed: Policy } | undefined;
  readonly objects: SortedMap<StoredObject>;
  readonly uploads: Map<string, Upload>;
}

/** Lower-case letters, digits, dots and hyphens, 3 to 63, as the rules for bucket names have it. */
const BUCKET_NAME = /^(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * The table of buckets, objects and uploads: the truth about who sees what. Whatever changes it does so at once, without
 * an await between a check and the change that relies on it; contents are written before and outside.
 */
export class Store {
  readonly #storage: Storage;
  readonly #buckets = new SortedMap<Bucket>();

  constructor(storage: Storage) {
    this.#storage = storage;
    for (const { bucket, objects } of storage.load()) {
      const table = new SortedMap<StoredObject>();
      for (const { record, content } of objects) table.set(record.key, { ...record, content });
      const { name, created, policy } = bucket;
      this.#buckets.set(name, {
        name,
        created,
        policy: policy === undefined ? undefined : { text: policy, parsed: parseBucketPolicy(name, policy) },
        objects: table,
        uploads: new Map(),
      });
    }
  }

  /** A page of the buckets, by name. */
  listBuckets(query: ListQuery): Listing<Bucket> {
    return listPage(this.#buckets, query);
  }

  /** @throws S3Error NoSuchBucket, InvalidBucketName */
  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name);
    if (!bucket) throw new S3Error(BUCKET_NAME.test(name) ? 'NoSuchBucket' : 'InvalidBucketName');
    return bucket;
  }

  hasBucket(name: string): boolean {
    return this.#buckets.get(name) !== undefined;
  }

  /** @throws S3Error BucketAlreadyOwnedByYou, InvalidBucketName */
  createBucket(name: string, created: number): void {
    if (!BUCKET_NAME.test(name)) throw new S3Error('InvalidBucketName');
    if (this.hasBucket(name)) throw new S3Error('BucketAlreadyOwnedByYou');
    this.#storage.saveBucket({ name, created, policy: undefined });
    this.#buckets.set(name, {
      name,
      created,
      policy: undefined,
      objects: new SortedMap(),
      uploads: new Map(),
    });
  }

  /**
   * Removes a bucket without objects, and its uploads with it.
   *
   * @throws S3Error BucketNotEmpty
   */
  deleteBucket(name: string): void {
    const bucket = this.bucket(name);
    if (bucket.objects.size > 0) throw new S3Error('BucketNotEmpty');
    this.#storage.removeBucket(name);
    this.#buckets.delete(name);
    for (const upload of bucket.uploads.values()) discardParts(upload);
  }

  /**
   * @param text undefined removes the policy
   * @throws S3Error MalformedPolicy
   */
  setPolicy(name: string, text: string | undefined): void {
    const bucket = this.bucket(name);
    const policy = text === undefined ? undefined : { text, parsed: parseBucketPolicy(name, text) };
    this.#storage.saveBucket({ name, created: bucket.created, policy: text });
    this.#buckets.set(name, { ...bucket, policy });
  }

  /** A place for content that is about to arrive. */
  newContent(): Promise<ContentWriter> {
    return this.#storage.newContent();
  }

  /**
   * Puts an object in the place of whatever the key had.
   *
   * @param writer has the content; it is finished, and given up when anything fails
   * @param check throws when the object must not be stored, given what the key has at that moment
   */
  async putObject(
    bucketName: string,
    record: ObjectRecord,
    writer: ContentWriter,
    check: (existing: StoredObject | undefined) => void,
  ): Promise<void> {
    const content = await writer.finish(record);
    try {
      const { objects } = this.bucket(bucketName);
      check(objects.get(record.key));
      this.#storage.saveObject(bucketName, record, content);
      objects.set(record.key, { ...record, content });
    } catch (error) {
      content.discard();
      throw error;
    }
  }

  /**
   * Removes an object. A key that does not exist is no error.
   *
   * @param check throws when it must not be removed
   */
  deleteObject(bucketName: string, key: string, check?: (existing: StoredObject | undefined) => void): void {
    const { objects } = this.bucket(bucketName);
    check?.(objects.get(key));
    if (objects.get(key) === undefined) return;
    this.#storage.removeObject(bucketName, key);
    objects.delete(key);
  }

  startUpload(bucketName: string, upload: Omit<Upload, 'id' | 'parts'>): Upload {
    const started = { ...upload, id: randomUUID(), parts: new Map<number, Part>() };
    this.bucket(bucketName).uploads.set(started.id, started);
    return started;
  }

  /** @throws S3Error NoSuchUpload */
  upload(bucketName: string, key: string, id: string): Upload {
    const upload = this.bucket(bucketName).uploads.get(id);
    if (upload?.key !== key) throw new S3Error('NoSuchUpload');
    return upload;
  }

  /** Stores a part in the place of the one that had its number. Given up when the upload is gone meanwhile. */
  putPart(bucketName: string, key: string, id: string, part: Part): void {
    try {
      const { parts } = this.upload(bucketName, key, id);
      parts.get(part.number)?.content.discard();
      parts.set(part.number, part);
    } catch (error) {
      part.content.discard();
      throw error;
    }
  }

  /**
   * Takes an upload out of the table, so that nobody else changes or completes it meanwhile. It is to be given back, or
   * its parts are to be discarded.
   */
  takeUpload(bucketName: string, key: string, id: string): Upload {
    const upload = this.upload(bucketName, key, id);
    this.bucket(bucketName).uploads.delete(id);
    return upload;
  }

  giveBackUpload(bucketName: string, upload: Upload): void {
    if (this.hasBucket(bucketName)) this.bucket(bucketName).uploads.set(upload.id, upload);
    else discardParts(upload);
  }

  close(): void {
    this.#storage.close();
  }
}

/** Gives up the contents of all parts of an upload. */
export function discardParts(upload: Upload): void {
  for (const part of upload.parts.values()) part.content.discard();
}
