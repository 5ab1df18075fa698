import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { DatasetKeyPrefix, DatasetUuid } from '../ecs/dtool/keys.ts';
import { listAll, type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { UserError } from '../errors.ts';
import { SMALL_OBJECT_MAX_BYTES } from '../limits.ts';
import { putObject } from './dataset-writer.ts';
import type { FreezeJournal, JournalEntry } from './journal.ts';
import { alreadyFrozen, findDataset, justRegistered, type RegisteredDataset } from './registration.ts';

/*
 * Two freezes of one dataset, from two folders: one of them is refused before it writes anything.
 *
 * A uuid that is drawn for a freeze is known to that freeze's journal alone, which is locked. A uuid that the folder has (a
 * dataset of dtool that was copied) may be frozen from two places at once, with two contents. Each of these freezes puts a
 * mark `freeze/<id>` first, then lists the marks, then reads the admin metadata. It goes on where its mark is the only one
 * and the dataset is not frozen, and removes the mark when it has come to its end. Of two freezes one has put its mark before
 * the other one lists, so they don't go on both. One that comes later finds the dataset frozen.
 *
 * The journal keeps the id, so a freeze that was ended goes on with its own mark. A mark whose folder is gone for good is
 * removed by `discard`, with all that is there of the dataset.
 */
const MARKS = 'freeze/';

/** Whether a path below a dataset's key prefix is the mark of a freeze. */
export function isFreezeMark(path: string): boolean {
  return path.startsWith(MARKS);
}

export interface MarkOptions {
  readonly store: ObjectStore;
  readonly uuid: DatasetUuid;
  /** As the registration key has it, or will. */
  readonly prefix: string;
  readonly keyPrefix: DatasetKeyPrefix;
  readonly journal: FreezeJournal;
  /** What the journal says. */
  readonly entry: JournalEntry | undefined;
  /** What it is to say from now on. */
  readonly began: JournalEntry;
  readonly signal: AbortSignal;
}

export interface TakenMark {
  readonly id: string;
  /** What the bucket had under the uuid after the mark was put; not frozen. */
  readonly registered: RegisteredDataset | undefined;
  /** To be called when the dataset is frozen. */
  release(): Promise<void>;
  /** To be called when nothing was written after all: the mark goes, and the journal is as it was. */
  abandon(): Promise<void>;
}

/**
 * Makes a freeze the only one of a dataset, until it has come to its end.
 *
 * @throws UserError when the dataset is being frozen from elsewhere, or is frozen; WriteRefused, StoreError
 */
export async function takeMark(options: MarkOptions): Promise<TakenMark> {
  const { store, uuid, prefix, keyPrefix, journal, entry, began, signal } = options;
  const isNew = entry?.mark === undefined;
  const id = entry?.mark ?? randomUUID();
  if (isNew) await journal.write({ ...began, ...entry, mark: id });
  const mark = new FreezeMark(store, keyPrefix, id);
  const abandon = async (): Promise<void> => {
    await mark.remove(signal);
    if (entry) await journal.write(entry);
    else await journal.remove();
  };
  try {
    await mark.put(signal);
    await mark.requireAlone(uuid, signal);
    const registered = await findDataset(store, uuid, signal);
    if (registered?.admin?.type === 'dataset') throw alreadyFrozen(store.bucket, uuid);
    if (registered && registered.prefix !== prefix) throw justRegistered(store.bucket, uuid);
    return { id, registered, abandon, release: async () => unlessStoreFails(mark.remove(signal)) };
  } catch (error) {
    // Of a failed request nobody knows whether the mark is there: then the journal keeps it.
    if (isNew && error instanceof UserError) await abandon();
    throw error;
  }
}

/** A mark that stays does no harm to a dataset that is frozen. */
async function unlessStoreFails(removing: Promise<void>): Promise<void> {
  await removing.catch((error: unknown) => {
    if (!(error instanceof StoreError)) throw error;
  });
}

/** The mark of one freeze of a dataset whose uuid others may freeze as well. */
class FreezeMark {
  readonly #store: ObjectStore;
  readonly #keyPrefix: DatasetKeyPrefix;
  readonly #path: string;

  constructor(store: ObjectStore, keyPrefix: DatasetKeyPrefix, id: string) {
    this.#store = store;
    this.#keyPrefix = keyPrefix;
    this.#path = MARKS + id;
  }

  /** @throws WriteRefused, StoreError */
  async put(signal: AbortSignal): Promise<void> {
    const body = Buffer.from(`process ${process.pid} on ${hostname()}`);
    await putObject(this.#store, this.#keyPrefix + this.#path, body, { priority: 'background', signal });
  }

  /**
   * Looks for freezes from elsewhere.
   *
   * @throws UserError that says who freezes the dataset; StoreError
   */
  async requireAlone(uuid: DatasetUuid, signal: AbortSignal): Promise<void> {
    for await (const { key } of listAll(this.#store, this.#keyPrefix + MARKS, { signal })) {
      if (key === this.#keyPrefix + this.#path) continue;
      const { bucket } = this.#store;
      throw new UserError(
        `dataset ${uuid} in bucket ${bucket} is being frozen from elsewhere (${await this.#whose(key, signal)})`,
        `Wait until that has ended. If it never will, "dtool-ecs-mount discard ${uuid} --bucket ${bucket}" makes room.`,
      );
    }
  }

  /** Where nothing may be deleted, the mark stays. */
  async remove(signal: AbortSignal): Promise<void> {
    try {
      await this.#store.delete(this.#keyPrefix + this.#path, { priority: 'background', signal });
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === 'access-denied')) throw error;
    }
  }

  async #whose(key: string, signal: AbortSignal): Promise<string> {
    try {
      const { body } = await this.#store.get(key, SMALL_OBJECT_MAX_BYTES, { signal });
      return body.toString();
    } catch (error) {
      if (error instanceof StoreError && error.reason === 'no-such-key') return 'it has just ended';
      throw error;
    }
  }
}
