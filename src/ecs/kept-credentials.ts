import type { Clock } from '../clock.ts';
import type { Credentials } from '../config.ts';
import { messageOf, UserError } from '../errors.ts';
import { CREDENTIALS_KEEP_MS } from '../limits.ts';
import type { Logger } from '../log.ts';
import { decorate, type StoreRequest } from './decorated-object-store.ts';
import { StoreError, type ObjectStore, type StoreErrorReason } from './object-store.ts';
import type { S3Credentials } from './request-signer.ts';

export interface KeptCredentialsOptions {
  /** Looks the credentials up in the configuration; throws UserError where it has none, or is broken. */
  readonly read: () => Credentials;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The credentials of a bucket, looked up again after {@link CREDENTIALS_KEEP_MS} and whenever the store refuses them. Those
 * that are known stay in force while the configuration can't be read: somebody may be writing it.
 */
export class KeptCredentials {
  readonly #options: KeptCredentialsOptions;
  #known: S3Credentials | undefined;
  #readAt = 0;

  constructor(options: KeptCredentialsOptions) {
    this.#options = options;
  }

  /**
   * What requests are signed with; the same object as long as the credentials are the same.
   *
   * @throws UserError when none were ever found
   */
  current(): S3Credentials {
    const { clock } = this.#options;
    return this.#known && clock.elapsed() - this.#readAt <= CREDENTIALS_KEEP_MS
      ? this.#known
      : this.#readAgain();
  }

  /** Looks up at once whether there are others than those that the store has refused. */
  areOtherThan(refused: S3Credentials): boolean {
    return this.current() !== refused || this.#readAgain() !== refused;
  }

  #readAgain(): S3Credentials {
    const { read, clock, log } = this.#options;
    try {
      const { accessKeyId, secretAccessKey } = read();
      const found = { accessKeyId, secretAccessKey: secretAccessKey.reveal() };
      if (
        found.accessKeyId !== this.#known?.accessKeyId ||
        found.secretAccessKey !== this.#known.secretAccessKey
      )
        this.#known = found;
    } catch (error) {
      if (!this.#known || !(error instanceof UserError)) throw error;
      log.warn(`The keys that were read before stay in use: ${messageOf(error)}`);
    }
    this.#readAt = clock.elapsed();
    return this.#known;
  }
}

const REFUSALS: ReadonlySet<StoreErrorReason> = new Set([
  'unknown-access-key',
  'wrong-secret-key',
  'expired-credentials',
]);

/**
 * Repeats a request once that the store has refused because of its keys, where the configuration has others by now. The
 * store has done nothing that it refused, so that everything may be repeated.
 */
export function createRekeyingObjectStore(store: ObjectStore, credentials: KeptCredentials): ObjectStore {
  return decorate(store, async (request, run) => {
    const used = credentials.current();
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof StoreError) || !isRefusedKey(request, error)) throw error;
      request.options.signal?.throwIfAborted();
      if (!credentials.areOtherThan(used)) throw error;
      return run();
    }
  });
}

/** The answer to a HEAD has no body that could tell keys from rights. */
function isRefusedKey({ operation }: StoreRequest, { reason }: StoreError): boolean {
  return REFUSALS.has(reason) || (operation === 'head' && reason === 'access-denied');
}
