import { createHash } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { DEFAULT_CONTENT_TYPE } from './object-headers.ts';
import { headerBytes } from './request.ts';
import type { ObjectRecord } from './storage.ts';
import type { Store } from './store.ts';

export interface SeedOptions {
  /** Names without `x-amz-meta-`. Values are sent as the bytes of their UTF-8 form, white space at the ends included. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Default `binary/octet-stream`. */
  readonly contentType?: string;
  /** Milliseconds since the epoch; default now. */
  readonly lastModified?: number;
}

/** Stores an object without HTTP: no credentials, no limits on its metadata. */
export async function seedObject(
  store: Store,
  clock: Clock,
  bucket: string,
  key: string,
  body: Uint8Array | string,
  options: SeedOptions,
): Promise<void> {
  const bytes = Buffer.from(body);
  const record: ObjectRecord = {
    key,
    size: bytes.length,
    etag: createHash('md5').update(bytes).digest('hex'),
    lastModified: options.lastModified ?? clock.now(),
    headers: { 'content-type': headerBytes(options.contentType ?? DEFAULT_CONTENT_TYPE) },
    metadata: Object.fromEntries(
      Object.entries(options.metadata ?? {}).map(([name, value]) => [name.toLowerCase(), headerBytes(value)]),
    ),
    checksum: undefined,
  };
  const writer = await store.newContent();
  try {
    await writer.write(bytes);
  } catch (error) {
    await writer.discard();
    throw error;
  }
  await store.putObject(bucket, record, writer, () => {});
}
