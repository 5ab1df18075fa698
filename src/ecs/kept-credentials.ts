import type { Clock } from '../clock.ts';
import type { Credentials } from '../config.ts';
import { messageOf } from '../errors.ts';
import { CREDENTIALS_KEEP_MS, CREDENTIALS_LOOK_MS } from '../limits.ts';
import type { Logger } from '../log.ts';
import { waitAtMost } from '../wait-at-most.ts';
import { decorate, type StoreRequest } from './decorated-object-store.ts';
import { StoreError, type ObjectStore, type StoreErrorReason } from './object-store.ts';
import type { S3Credentials } from './request-signer.ts';

export interface KeptCredentialsOptions {
  /** In use until others are found. */
  readonly initial: Credentials;
  /** Looks the credentials up in the configuration; rejects with a UserError where it has none, or is broken. */
  readonly read: () => Promise<Credentials>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The credentials of a bucket, looked up again after {@link CREDENTIALS_KEEP_MS} and whenever the store refuses them. Those
 * that are known stay in use while the configuration can't be read: somebody may be writing it, or its file system may hang.
 */
export class KeptCredentials {
  readonly #options: KeptCredentialsOptions;
  #known: S3Credentials;
  #readAt: number;
  #look: Promise<void> | undefined;

  constructor(options: KeptCredentialsOptions) {
    this.#options = options;
    this.#known = revealed(options.initial);
    this.#readAt = options.clock.elapsed();
  }

  /**
   * The credentials that requests are signed with; the same object as long as the credentials are the same. Old ones
   * are looked up again in the background, so nobody waits for a file.
   */
  current(): S3Credentials {
    if (this.#options.clock.elapsed() - this.#readAt > CREDENTIALS_KEEP_MS) void this.#lookUp();
    return this.#known;
  }

  /**
   * Looks up whether there are others than those that the store has refused, for at most {@link CREDENTIALS_LOOK_MS} a look.
   *
   * @throws the signal's reason as soon as it aborts
   */
  async areOtherThan(refused: S3Credentials, signal = new AbortController().signal): Promise<boolean> {
    // A look that is under way may have read the file before the keys in it were exchanged.
    for (let looks = this.#look ? 2 : 1; looks > 0 && this.#known === refused; looks--) {
      await waitAtMost(CREDENTIALS_LOOK_MS, this.#lookUp(), this.#options.clock, signal);
    }
    return this.#known !== refused;
  }

  /** One look at a time: all that come meanwhile share it. Never rejects. */
  #lookUp(): Promise<void> {
    this.#look ??= this.#readAgain().finally(() => (this.#look = undefined));
    return this.#look;
  }

  async #readAgain(): Promise<void> {
    const { read, clock, log } = this.#options;
    try {
      const found = revealed(await read());
      const { accessKeyId, secretAccessKey } = this.#known;
      if (found.accessKeyId !== accessKeyId || found.secretAccessKey !== secretAccessKey) this.#known = found;
    } catch (error) {
      log.warn(`The keys that were read before stay in use: ${messageOf(error)}`);
    }
    this.#readAt = clock.elapsed();
  }
}

function revealed({ accessKeyId, secretAccessKey }: Credentials): S3Credentials {
  return { accessKeyId, secretAccessKey: secretAccessKey.reveal() };
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
      const { signal } = request.options;
      signal?.throwIfAborted();
      if (!(await credentials.areOtherThan(used, signal))) throw error;
      return run();
    }
  });
}

/** The answer to a HEAD has no body that could tell keys from rights. */
function isRefusedKey({ operation }: StoreRequest, { reason }: StoreError): boolean {
  return REFUSALS.has(reason) || (operation === 'head' && reason === 'access-denied');
}
