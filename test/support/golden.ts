import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryObjectStore } from './memory-object-store.ts';

/** An object as the real dtool left it in a bucket. */
export interface GoldenObject {
  readonly key: string;
  readonly body: Buffer;
  readonly size: number;
  /** Without quotes. */
  readonly etag: string;
  /** User metadata. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
  /** Milliseconds since the epoch. */
  readonly lastModified: number;
}

/** What the real dtool says of a dataset in the bucket. */
export interface GoldenDataset {
  readonly uuid: string;
  readonly name: string;
  readonly type: 'dataset' | 'protodataset';
  readonly uri: string;
  /** Body of the registration key. */
  readonly prefix: string;
  readonly admin_metadata: {
    readonly uuid: string;
    readonly dtoolcore_version: string;
    readonly name: string;
    readonly type: 'dataset' | 'protodataset';
    readonly creator_username: string;
    readonly created_at: number;
    readonly frozen_at?: number;
  };
  readonly readme: string;
  readonly readme_backup_keys: readonly string[];
  readonly tags: readonly string[];
  readonly annotation_names: readonly string[];
  readonly annotations: Readonly<Record<string, unknown>>;
  /** Of frozen datasets only, as the next three. */
  readonly items?: Readonly<Record<string, GoldenItem>>;
  readonly overlays?: Readonly<Record<string, unknown>>;
  readonly hash_function?: string;
  readonly manifest_dtoolcore_version?: string;
  /** Relpaths; of proto datasets only. */
  readonly handles?: readonly string[];
}

export interface GoldenItem {
  readonly relpath: string;
  readonly size_in_bytes: number;
  readonly hash: string;
  readonly utc_timestamp: number;
}

export interface GoldenCase {
  readonly name: string;
  readonly bucket: string;
  readonly objects: readonly GoldenObject[];
  /** Every reader's view of the whole bucket, by the reader's name. */
  readonly readers: Readonly<Record<string, { readonly datasets: readonly GoldenDataset[] }>>;
}

interface RawObject extends Omit<GoldenObject, 'body' | 'lastModified'> {
  readonly sha256: string;
  readonly lastModified: string;
  readonly bodyFile: string | null;
  readonly bodyText?: string;
}

const FOLDER = join(import.meta.dirname, '../fixtures/golden');

/** Names of the cases, sorted. */
export const goldenCases: readonly string[] = readdirSync(FOLDER).toSorted();

/** Reads a case and makes sure that every body is the one that the real dtool wrote. */
export function loadGoldenCase(name: string): GoldenCase {
  const read = (file: string): Buffer => readFileSync(join(FOLDER, name, file));
  const { bucket, objects }: { bucket: string; objects: readonly RawObject[] } = JSON.parse(
    read('objects.json').toString(),
  );
  const { readers }: Pick<GoldenCase, 'readers'> = JSON.parse(read('truth.json').toString());
  return {
    name,
    bucket,
    readers,
    objects: objects.map((raw) => {
      const body = raw.bodyFile ? read(raw.bodyFile) : Buffer.from(raw.bodyText ?? derivedBody());
      const etag = raw.etag.replaceAll('"', '');
      const digest = (algorithm: string): string => createHash(algorithm).update(body).digest('hex');
      if (body.length !== raw.size || digest('sha256') !== raw.sha256 || digest('md5') !== etag) {
        throw new Error(`The fixture ${name} is damaged: ${raw.key}`);
      }
      const { key, size, metadata, contentType } = raw;
      return { key, size, metadata, contentType, body, etag, lastModified: Date.parse(raw.lastModified) };
    }),
  };
}

/** A store with all objects of a case. */
export function goldenStore({ bucket, objects }: GoldenCase): MemoryObjectStore {
  let now = 0;
  const store = new MemoryObjectStore({ bucket, now: () => now });
  for (const object of objects) {
    now = object.lastModified;
    store.seed(object.key, object.body, object.metadata);
  }
  return store;
}

/** The 20 MiB that no file holds: the SHA-256 digests of 655,360 short texts. */
function derivedBody(): Buffer {
  const body = Buffer.alloc(655_360 * 32);
  for (let i = 0; i < 655_360; i += 1) {
    createHash('sha256')
      .update(`dtool-oracle-20MiB:${i}`)
      .digest()
      .copy(body, i * 32);
  }
  return body;
}
