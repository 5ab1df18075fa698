import { randomUUID } from 'node:crypto';
import type { DatasetKeyPrefix } from '../ecs/dtool/keys.ts';
import { listAll, type ObjectStore, StoreError } from '../ecs/object-store.ts';
import { putObject } from './dataset-writer.ts';

/*
 * A discard and a freeze of one dataset at the same time, from anywhere: how one whole copy survives.
 *
 * The store has no transactions, and many stores have no conditional requests. It is strongly consistent: a request takes
 * effect at one moment between its start and its answer. So the two look after each other as Dekker's algorithm does:
 * each writes first, into a key that the other reads, and looks afterwards; then at least one of them sees the other.
 *
 * A discard (`discard.ts`), with an id of its own:
 *  D1  puts the mark `discard/<id>/asks`
 *  D2  reads the admin metadata; where that says "dataset", it withdraws
 *  D3  puts the mark `discard/<id>/deletes`
 *  D4  looks for its first mark; where that is gone, it withdraws
 *  D5  deletes all that is listed, then the registration key, then the marks
 * To withdraw is to delete its own marks, and nothing else.
 *
 * A freeze (`write-dataset.ts`, then `committed-dataset.ts`):
 *  F1  puts everything, then the admin metadata that says "dataset": the commit
 *  F2  lists the dataset: everything must be there, and no mark. A lone `asks` is deleted (overruled), and the marks are
 *      listed again. With a `deletes` in a list the freeze fails
 *  F3  reads the registration key, then the admin metadata: both must be its own
 *  F4  says "frozen", and removes the folder
 * "Already frozen" and the recovery of a folder begin at F2.
 *
 * A discard that comes to D5 and a freeze that comes to F4 exclude each other:
 *  - F1 before D2: the discard sees the commit and withdraws.
 *  - D2 before F1: then D1 is before F2. Either F2 does not see the mark, because D5 has deleted it; then the registration
 *    key is gone for good, which F3 sees. (A uuid that was drawn for a freeze is registered once.) Or F2 sees `deletes`, and
 *    the freeze fails. Or F2 sees a lone `asks` and deletes it; a D3 before the second list is seen in it, and of a later one
 *    D4 finds `asks` missing.
 * A freeze that fails keeps its folder, and a discard that withdraws has deleted nothing, so a whole copy is left in each
 * case. Both may give way to each other (registers alone decide no race); doing either again decides it.
 *
 * Both marks of a discard at one time are a licence: no freeze has come to F4, or can. So a discard that was ended half way is
 * gone on with, although the admin metadata may say "dataset" by then: that commit came after D2. Another discard puts both
 * marks of its own before it looks for the first mark of the ended one, so that freezes see it when that withdraws. The
 * freeze that has lost goes on with it, too: what it has put after D5 is nobody else's.
 *
 * Three at once are as safe where the uuid was drawn for a freeze. Where it is the folder's own (a dataset of dtool), it is
 * registered again when it is frozen after a discard; a discard of the same uuid that still stands between two of its
 * requests could then delete what it listed before. No order of requests prevents that.
 */
const MARKS = 'discard/';
const ASKS = 'asks';
const DELETES = 'deletes';

/** The marks that discards have left in a dataset. */
export class DiscardMarks {
  readonly #asks = new Set<string>();
  readonly #deletes = new Set<string>();

  /** Whether a path below a dataset's key prefix is a mark's. */
  static includes(path: string): boolean {
    return path.startsWith(MARKS);
  }

  /** @throws StoreError */
  static async list(
    store: ObjectStore,
    keyPrefix: DatasetKeyPrefix,
    signal: AbortSignal,
  ): Promise<DiscardMarks> {
    const marks = new DiscardMarks();
    for await (const { key } of listAll(store, keyPrefix + MARKS, { signal }))
      marks.add(key.slice(keyPrefix.length));
    return marks;
  }

  add(path: string): void {
    const [, id = '', kind] = path.split('/');
    if (kind === ASKS) this.#asks.add(id);
    if (kind === DELETES) this.#deletes.add(id);
  }

  get isEmpty(): boolean {
    return this.#asks.size === 0 && this.#deletes.size === 0;
  }

  /** Discards that have not decided yet. */
  get asking(): readonly string[] {
    return [...this.#asks].filter((id) => !this.#deletes.has(id));
  }

  /** Discards that have both marks, or one that another freeze has overruled. */
  get deleting(): readonly string[] {
    return [...this.#deletes];
  }

  /**
   * Whether one of these discards has both marks at this moment. Of the two, which a list may see at different moments, the
   * first is looked at again.
   *
   * @throws StoreError
   */
  async areLicence(store: ObjectStore, keyPrefix: DatasetKeyPrefix, signal: AbortSignal): Promise<boolean> {
    for (const id of this.#deletes) if (await isThere(store, asksKey(keyPrefix, id), signal)) return true;
    return false;
  }
}

/** The marks of one discard: D1 to D4. */
export class DiscardMark {
  readonly #store: ObjectStore;
  readonly #keyPrefix: DatasetKeyPrefix;
  readonly #id = randomUUID();

  constructor(store: ObjectStore, keyPrefix: DatasetKeyPrefix) {
    this.#store = store;
    this.#keyPrefix = keyPrefix;
  }

  /** The key that tells whether the user may delete: nothing is there yet. */
  get key(): string {
    return asksKey(this.#keyPrefix, this.#id);
  }

  /** @throws WriteRefused, StoreError */
  async ask(signal: AbortSignal): Promise<void> {
    await putObject(this.#store, this.key, Buffer.of(), { priority: 'background', signal });
  }

  /**
   * Makes deleting the decision.
   *
   * @param ended discards to go on with, where the dataset may not be deleted but for them
   * @returns false where a freeze has overruled it
   * @throws StoreError
   */
  async decide(ended: DiscardMarks | undefined, signal: AbortSignal): Promise<boolean> {
    const key = deletesKey(this.#keyPrefix, this.#id);
    await putObject(this.#store, key, Buffer.of(), { priority: 'background', signal });
    if (ended) return ended.areLicence(this.#store, this.#keyPrefix, signal);
    return isThere(this.#store, this.key, signal);
  }

  /** @throws StoreError */
  async withdraw(signal: AbortSignal): Promise<void> {
    for (const key of [deletesKey(this.#keyPrefix, this.#id), this.key])
      await this.#store.delete(key, { priority: 'background', signal });
  }
}

/**
 * What discards mean for a freeze: all of them are overruled, or one deletes the dataset, or one may do so (a freeze has
 * overruled it at the moment at which it decided).
 */
export type DiscardOutcome = 'overruled' | 'deletes' | 'contested';

/** Lists of the marks after which a freeze fails, where new discards go on coming. */
const OVERRULE_TRIES_MAX = 5;

/**
 * Ends the discards that have not decided yet: the second part of F2. The dataset says "dataset".
 *
 * @param found what a list has shown of the marks since the commit
 * @throws StoreError
 */
export async function overruleDiscards(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  found: DiscardMarks,
  signal: AbortSignal,
): Promise<DiscardOutcome> {
  let marks = found;
  for (let tries = 1; !marks.isEmpty; tries += 1) {
    if (marks.deleting.length > 0)
      return (await marks.areLicence(store, keyPrefix, signal)) ? 'deletes' : 'contested';
    if (tries > OVERRULE_TRIES_MAX) return 'contested';
    for (const id of marks.asking)
      await store.delete(asksKey(keyPrefix, id), { priority: 'background', signal });
    marks = await DiscardMarks.list(store, keyPrefix, signal);
  }
  return 'overruled';
}

function asksKey(keyPrefix: DatasetKeyPrefix, id: string): string {
  return `${keyPrefix}${MARKS}${id}/${ASKS}`;
}

function deletesKey(keyPrefix: DatasetKeyPrefix, id: string): string {
  return `${keyPrefix}${MARKS}${id}/${DELETES}`;
}

async function isThere(store: ObjectStore, key: string, signal: AbortSignal): Promise<boolean> {
  try {
    await store.head(key, { priority: 'background', signal });
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.reason === 'no-such-key') return false;
    throw error;
  }
}
