import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { UserError } from '../errors.ts';
import { KiB } from '../limits.ts';
import {
  type AdminMetadata,
  adminMetadataHeaders,
  renderAdminMetadata,
} from '../ecs/dtool/admin-metadata.ts';
import { ADMIN_METADATA, type DatasetKeyPrefix } from '../ecs/dtool/keys.ts';
import { type ObjectStore, type PutBody, type PutOptions, StoreError } from '../ecs/object-store.ts';

/** Puts the objects of one dataset. What it puts replaces what is there, unless that is to be kept. */
export class DatasetWriter {
  readonly keyPrefix: DatasetKeyPrefix;
  readonly #store: ObjectStore;
  readonly #signal: AbortSignal;
  readonly #isKept: (path: string) => boolean;

  /** @param isKept tells of a path whether what is there stays; default: nothing does */
  constructor(
    store: ObjectStore,
    keyPrefix: DatasetKeyPrefix,
    signal: AbortSignal,
    isKept: (path: string) => boolean = () => false,
  ) {
    this.keyPrefix = keyPrefix;
    this.#isKept = isKept;
    this.#store = store;
    this.#signal = signal;
  }

  /** @param path below the dataset's key prefix */
  async put(
    path: string,
    content: Buffer | string,
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    if (this.#isKept(path)) return;
    const body = Buffer.from(content);
    await this.#put(path, body, createHash('md5').update(body).digest(), metadata);
  }

  /** Puts text that is made piece by piece, twice, and never is in memory as a whole. */
  async putGenerated(path: string, pieces: () => Iterable<string>): Promise<void> {
    if (this.#isKept(path)) return;
    const hash = createHash('md5');
    let size = 0;
    for (const piece of batched(pieces())) {
      hash.update(piece);
      size += piece.length;
      await setImmediate();
    }
    const open = (): Iterable<Buffer> => batched(pieces());
    await this.#put(path, { size, open }, hash.digest(), {});
  }

  async putAdmin(admin: AdminMetadata): Promise<void> {
    await this.put(ADMIN_METADATA, renderAdminMetadata(admin), adminMetadataHeaders(admin));
  }

  async #put(
    path: string,
    body: PutBody,
    md5: Buffer,
    metadata: Readonly<Record<string, string>>,
  ): Promise<void> {
    const options = { priority: 'background', signal: this.#signal, md5, metadata } as const;
    await putObject(this.#store, this.keyPrefix + path, body, options);
  }
}

const BATCH_CHARACTERS = 64 * KiB;

/** Text as bytes, in pieces of some size. */
function* batched(pieces: Iterable<string>): Generator<Buffer, void, undefined> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length >= BATCH_CHARACTERS) {
      yield Buffer.from(text);
      text = '';
    }
  }
  if (text !== '') yield Buffer.from(text);
}

/**
 * Puts an object.
 *
 * @throws UserError when the store refuses, that names the key and the right that is missing
 */
export async function putObject(
  store: ObjectStore,
  key: string,
  body: PutBody,
  options: PutOptions,
): Promise<void> {
  try {
    await store.put(key, body, options);
  } catch (error) {
    throw refusalOf(error, key);
  }
}

/** What to throw when an object could not be put: a {@link WriteRefused} where it is that, else the error. */
export function refusalOf(error: unknown, key: string): unknown {
  return error instanceof StoreError && error.reason === 'access-denied'
    ? new WriteRefused(error, key)
    : error;
}

/** The store does not let the user write. */
export class WriteRefused extends UserError {
  constructor(cause: StoreError, key: string) {
    super(
      `writing is not allowed (EACCES): ${cause.message}`,
      `Ask for an access policy that allows s3:PutObject on arn:aws:s3:::${cause.bucket}/${key}, or set ` +
        `DTOOL_ECS_DATASET_PREFIX_${cause.bucket} to a prefix that you may write below, such as u/<your user name>/.`,
      { cause },
    );
  }
}
