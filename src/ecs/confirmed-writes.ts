import { createHash } from 'node:crypto';
import {
  type CompletedPart,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type RequestOptions,
  StoreError,
  type StoreErrorReason,
  type Upload,
} from './object-store.ts';

/** After these the store may have done what it was asked, and its answer is lost or late. */
const DOUBTFUL: ReadonlySet<StoreErrorReason> = new Set([
  'timeout',
  'unreachable',
  'server-error',
  'bad-response',
]);

/**
 * Makes a put that may be repeated: before it sends the content again it looks whether the store has it by now, with the MD5
 * as its ETag and with its metadata. An object that is all of this is what was to be put, whoever has put it. Where the store
 * may not be asked, or has ETags of another kind, the content is sent again.
 *
 * @returns makes the next try
 */
export function confirmedPut(
  store: ObjectStore,
  key: string,
  body: PutBody,
  options: PutOptions,
): () => Promise<void> {
  const { metadata = {} } = options;
  const md5 = (): string | undefined => {
    if (options.md5) return Buffer.from(options.md5).toString('hex');
    return body instanceof Uint8Array ? createHash('md5').update(body).digest('hex') : undefined;
  };
  const isIt = (found: ObjectInfo): boolean =>
    found.size === (body instanceof Uint8Array ? body.length : body.size) &&
    found.etag.toLowerCase() === md5() &&
    Object.entries(metadata).every(([name, value]) => found.metadata[name] === value);
  return confirmed(async () => store.put(key, body, options), store, key, isIt, options);
}

/**
 * Makes the end of an upload in parts, which may be repeated: before that it looks whether the object is there, with the ETag
 * that the parts make ({@link compositeEtag}).
 *
 * @returns makes the next try
 */
export function confirmedCompletion(
  store: ObjectStore,
  upload: Upload,
  parts: readonly CompletedPart[],
  options: RequestOptions,
): () => Promise<void> {
  const etag = compositeEtag(parts);
  const isIt = (found: ObjectInfo): boolean => found.etag.toLowerCase() === etag;
  const complete = async (): Promise<void> => store.completeUpload(upload, parts, options);
  return confirmed(complete, store, upload.key, isIt, options);
}

/**
 * The ETag that an object has which is made of these parts: the MD5 of the MD5s of the parts, and their number. Undefined where
 * the ETags of the parts are no MD5s.
 */
export function compositeEtag(parts: readonly CompletedPart[]): string | undefined {
  const md5s = parts.map(({ etag }) => /^"?([0-9a-f]{32})"?$/i.exec(etag)?.[1]);
  if (md5s.includes(undefined)) return undefined;
  return `${createHash('md5')
    .update(Buffer.from(md5s.join(''), 'hex'))
    .digest('hex')}-${parts.length}`;
}

function confirmed(
  write: () => Promise<void>,
  store: ObjectStore,
  key: string,
  isIt: (found: ObjectInfo) => boolean,
  { signal, priority = 'metadata', promotion }: RequestOptions,
): () => Promise<void> {
  let isInDoubt = false;
  const isStored = async (): Promise<boolean> => {
    try {
      return isIt(await store.head(key, { signal, priority, promotion }));
    } catch (error) {
      // Another try may tell; whatever else it is does not, such as a policy that lets us write and not read.
      if (!(error instanceof StoreError) || error.retryable) throw error;
      return false;
    }
  };
  return async () => {
    if (isInDoubt && (await isStored())) return;
    try {
      await write();
    } catch (error) {
      isInDoubt = error instanceof StoreError && DOUBTFUL.has(error.reason);
      throw error;
    }
  };
}
