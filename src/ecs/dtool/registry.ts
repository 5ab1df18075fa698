import { createHash } from 'node:crypto';
import { forEachBounded } from '../../for-each-bounded.ts';
import {
  LISTING_READS_MAX,
  REGISTRATION_KEY_BODY_MAX_BYTES,
  REGISTRATIONS_MAX,
  SMALL_OBJECT_MAX_BYTES,
} from '../../limits.ts';
import { StoreError, type ListedObject, type ListPage, type ObjectStore } from '../object-store.ts';
import { parseAdminMetadata, type AdminMetadata } from './admin-metadata.ts';
import { FormatError, problemFrom, type Problem, ProblemList } from './format-error.ts';
import { decodeUtf8 } from './json.ts';
import {
  ADMIN_METADATA,
  datasetKeyPrefix,
  REGISTRATION_PREFIX,
  uuidOfRegistrationKey,
  type DatasetKeyPrefix,
  type DatasetUuid,
} from './keys.ts';

/** A dataset that is registered in a bucket, frozen or not. */
export interface DatasetEntry {
  /** From the registration key; `admin.uuid` may differ. */
  readonly uuid: DatasetUuid;
  readonly keyPrefix: DatasetKeyPrefix;
  readonly admin: AdminMetadata;
  /** ETag of the object that the admin metadata is from. */
  readonly adminEtag: string;
  /** The registration key as it was read. */
  readonly registration: Registration;
}

export interface Registration {
  readonly etag: string;
  readonly size: number;
  /** The body verbatim. */
  readonly prefix: string;
}

export interface RegistryProblem extends Problem {
  /** The dataset that is missing for it; undefined where the key names none. */
  readonly uuid?: DatasetUuid | undefined;
}

/**
 * The datasets of a bucket at one time, and what stood in the way of others. Plain data, sorted by uuid and key. Of more
 * than {@link REGISTRATIONS_MAX} registration keys those that the store lists first count, and where the others begin is
 * the last of the problems.
 */
export interface Registry {
  readonly datasets: readonly DatasetEntry[];
  readonly problems: readonly RegistryProblem[];
}

export interface RegistryOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Prefix that the user's own datasets are likely to have, as it would be written. It saves a request where it is
   * right and does no harm where it is wrong.
   */
  readonly likelyPrefix?: string;
  /**
   * An earlier result of the same bucket: registration keys that are as they were then are not read again, and a
   * dataset that the store fails to answer for stays what it was, besides being reported.
   */
  readonly previous?: Registry;
  /**
   * Whether an entry of `previous` is taken over as it is, while its registration key is as it was, without asking
   * for the admin metadata again. Default: none is.
   */
  readonly reuse?: (entry: DatasetEntry) => boolean;
}

/**
 * Lists the datasets of a bucket. Costs the pages of the list, one request a dataset for the admin metadata, and one
 * for every distinct registration body that isn't empty or known, where the store's ETags are MD5s; at most two
 * requests a dataset in any case.
 *
 * @throws StoreError when the list itself fails, or the store or the credentials do; what is wrong with one dataset
 *   is a problem in the result and leaves the others alone
 */
export async function readRegistry(store: ObjectStore, options: RegistryOptions = {}): Promise<Registry> {
  const { signal, previous, reuse = () => false } = options;
  const datasets: DatasetEntry[] = [];
  const problems = new ProblemList<RegistryProblem>(REGISTRATION_PREFIX);
  const earlier = new Map(previous?.datasets.map((entry) => [entry.uuid, entry]));
  const bodies = new RegistrationBodies(store, [
    ...(options.likelyPrefix === undefined ? [] : [options.likelyPrefix]),
    ...new Set(previous?.datasets.map(({ registration }) => registration.prefix)),
  ]);

  const readOne = async (listed: ListedObject, taskSignal: AbortSignal): Promise<void> => {
    const uuid = uuidOfRegistrationKey(listed.key);
    if (uuid === undefined) {
      problems.push({ key: listed.key, reason: 'it starts like a registration key but has no uuid' });
      return;
    }
    const before = earlier.get(uuid);
    const unchanged = before !== undefined && isUnchanged(before.registration, listed);
    if (unchanged && reuse(before)) {
      datasets.push(before);
      return;
    }
    try {
      const prefix = unchanged ? before.registration.prefix : await bodies.read(listed, taskSignal);
      const keyPrefix = datasetKeyPrefix(prefix, uuid);
      const { admin, etag: adminEtag } = await readAdminMetadata(store, keyPrefix, taskSignal);
      datasets.push({
        uuid,
        keyPrefix,
        admin,
        adminEtag,
        registration: { etag: listed.etag, size: listed.size, prefix },
      });
    } catch (error) {
      problems.push({ ...problemFrom(error), uuid });
      if (unchanged && error instanceof StoreError && error.retryable) datasets.push(before);
    }
  };
  const excess: Problem[] = [];
  const registrations = listRegistrations(store, problems, excess, signal);
  await forEachBounded(registrations, LISTING_READS_MAX, readOne, signal);

  return {
    datasets: datasets.toSorted((a, b) => compare(a.uuid, b.uuid)),
    problems: [...problems.sorted(), ...excess],
  };
}

/**
 * The admin metadata of a dataset, headers and body in one request.
 *
 * @throws StoreError
 * @throws FormatError when it is missing or broken
 */
export async function readAdminMetadata(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal?: AbortSignal,
): Promise<{ readonly admin: AdminMetadata; readonly etag: string }> {
  const key = keyPrefix + ADMIN_METADATA;
  const where = { bucket: store.bucket, key };
  try {
    const { metadata, body, etag } = await store.get(key, SMALL_OBJECT_MAX_BYTES, { signal });
    return { admin: parseAdminMetadata(metadata, body, where), etag };
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.reason !== 'no-such-key') throw cause;
    const hint = /[\r\n]/.test(key) ? '; the line break in its key comes from the registration key' : '';
    throw new FormatError(where, `the dataset is registered but its admin metadata is not there${hint}`, {
      cause,
    });
  }
}

/**
 * The objects that may be registration keys. Keys with a slash come folded: were a dataset prefix to start with
 * `dtool-`, each of its items would otherwise be listed as junk.
 *
 * @param excess gets where it ends, if that is before the end
 */
async function* listRegistrations(
  store: ObjectStore,
  problems: ProblemList<RegistryProblem>,
  excess: Problem[],
  signal: AbortSignal | undefined,
): AsyncGenerator<ListedObject, void, undefined> {
  let seen = 0;
  const isTooMany = (key: string): boolean => {
    seen += 1;
    if (seen <= REGISTRATIONS_MAX) return false;
    const reason = `the bucket has more than ${REGISTRATIONS_MAX} registration keys: from this one on all are left out`;
    excess.push({ key, reason });
    return true;
  };
  let continuationToken: string | undefined;
  do {
    const page: ListPage = await store.listPage(
      { prefix: REGISTRATION_PREFIX, delimiter: '/', continuationToken },
      { signal },
    );
    for (const key of page.commonPrefixes) {
      if (isTooMany(key)) return;
      problems.push({ key, reason: 'keys that start like registration keys have a slash' });
    }
    for (const object of page.objects) {
      if (isTooMany(object.key)) return;
      yield object;
    }
    continuationToken = page.continuationToken;
  } while (continuationToken !== undefined);
}

function isUnchanged(before: Registration, listed: ListedObject): boolean {
  return listed.etag !== '' && before.etag === listed.etag && before.size === listed.size;
}

/**
 * Reads the bodies of registration keys, which are mostly the same few. A listed ETag stands for a known body only
 * where it is that body's MD5: on encrypting stores, for one, it is not.
 */
class RegistrationBodies {
  readonly #store: ObjectStore;
  /** By ETag and size, what the body is known to be, or undefined where the ETag turned out to be no MD5. */
  readonly #known = new Map<string, Promise<string | undefined>>();

  constructor(store: ObjectStore, likely: Iterable<string>) {
    this.#store = store;
    for (const prefix of likely) {
      const body = Buffer.from(prefix);
      this.#known.set(contentId(md5(body), body.length), Promise.resolve(prefix));
    }
  }

  async read(listed: ListedObject, signal: AbortSignal): Promise<string> {
    if (listed.size === 0) return '';
    const id = contentId(listed.etag, listed.size);
    const known = await this.#known.get(id);
    if (known !== undefined) return known;
    const reading = this.#get(listed, signal);
    if (!this.#known.has(id)) {
      this.#known.set(
        id,
        reading.then(
          ({ body, prefix }) => (md5(body) === listed.etag ? prefix : undefined),
          () => undefined,
        ),
      );
    }
    return (await reading).prefix;
  }

  async #get({ key }: ListedObject, signal: AbortSignal): Promise<{ body: Buffer; prefix: string }> {
    const { body } = await this.#store.get(key, REGISTRATION_KEY_BODY_MAX_BYTES, { signal });
    return { body, prefix: decodeUtf8(body, { bucket: this.#store.bucket, key }) };
  }
}

const contentId = (etag: string, size: number): string => `${size} ${etag}`;
const md5 = (body: Buffer): string => createHash('md5').update(body).digest('hex');
const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
