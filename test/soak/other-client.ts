import { readRegistry } from '../../src/ecs/dtool/registry.ts';
import { registrationKey } from '../../src/ecs/dtool/keys.ts';
import { DatasetReader } from '../../src/ecs/dtool/dataset-reader.ts';
import { datasetObjects, type DatasetSpec } from '../../src/demo/dataset-objects.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { KiB, MiB } from '../../src/limits.ts';
import { CREATED_AT, uuidOf } from '../support/datasets.ts';
import type { TestBucket } from '../support/test-bucket.ts';
import { knownBytes, knownFileOf, nameOf } from './known-content.ts';

/** Of the sizes that have edges: empty, one byte, a block less one, a block, many blocks. */
const STEADY_BYTES = [0, 1, 4 * KiB, 256 * KiB - 1, 256 * KiB, 300 * KiB, 1 * MiB + 1, 3 * MiB + 5] as const;
const PASSING_BYTES = [10, 5 * KiB, 300 * KiB] as const;

/** A client that works on the same bucket as the mount, without it. */
export class OtherClient {
  readonly #bucket: TestBucket;
  readonly #store: ObjectStore;
  readonly #random: () => number;
  /** Datasets of its own that come and go, the oldest first. */
  readonly #passing: DatasetSpec[] = [];
  /** Of datasets that were removed or renamed. */
  readonly #gone = new Set<string>();
  #made = 0;

  /** @param store opens the bucket directly */
  constructor(bucket: TestBucket, store: ObjectStore, random: () => number) {
    this.#bucket = bucket;
    this.#store = store;
    this.#random = random;
  }

  /** Puts a dataset that stays. */
  async putSteady(seed: number): Promise<void> {
    const items = STEADY_BYTES.map((length, index) => ({ seed: seed * 100 + index, length }));
    await this.#put(specOf(`steady-${seed}`, `steady-${seed}`, items));
  }

  /** Adds, renames or deletes a dataset, so that some come and go and there are never many. */
  async change(): Promise<'added' | 'renamed' | 'deleted'> {
    const [oldest] = this.#passing;
    const choice = this.#random();
    if (!oldest || choice < 0.4) {
      this.#made += 1;
      const items = PASSING_BYTES.map((length, index) => ({ seed: this.#made * 10 + index + 5_000, length }));
      const spec = specOf(`passing-${this.#made}`, `passing-${this.#made}`, items);
      await this.#put(spec);
      this.#passing.push(spec);
      return 'added';
    }
    this.#gone.add(oldest.name);
    this.#passing.shift();
    if (choice < 0.7) {
      const renamed = { ...oldest, name: `${oldest.name}-renamed` };
      await this.#put(renamed);
      this.#passing.push(renamed);
      return 'renamed';
    }
    for (const { key } of [...datasetObjects(oldest)].toReversed()) await this.#bucket.delete(key);
    return 'deleted';
  }

  /** Whether what is at a path of the mount may be missing, or be found no more. */
  mayBeGone(path: string): boolean {
    return this.#gone.has(path.split('/')[0] ?? '');
  }

  /**
   * Looks into the bucket for a dataset that a mount has frozen, and then removes it.
   *
   * @param items names of known contents
   * @returns what is wrong with it
   */
  async takeFrozen(name: string, items: readonly string[]): Promise<string | undefined> {
    const found = (await readRegistry(this.#store)).datasets.filter(({ admin }) => admin.name === name);
    const [entry] = found;
    if (!entry || found.length !== 1) return `there are ${found.length} datasets called ${name}`;
    if (entry.admin.type !== 'dataset') return `${name} is not frozen`;
    const reader = new DatasetReader(this.#store, entry);
    const manifest = [...(await reader.manifest()).items];
    const relpaths = manifest.map(({ relpath }) => relpath).toSorted();
    if (relpaths.join() !== items.toSorted().join()) return `${name} has the items ${relpaths.join(', ')}`;
    for (const { identifier, relpath } of manifest) {
      const { body } = await this.#store.get(reader.itemKey(identifier), 16 * MiB);
      const file = knownFileOf(relpath);
      if (!file || !body.equals(knownBytes(file))) return `${name}/${relpath} is not what was written`;
    }
    this.#gone.add(name);
    for (const prefix of [registrationKey(entry.uuid), entry.keyPrefix]) {
      for (const { key } of (await this.#store.listPage({ prefix })).objects) await this.#bucket.delete(key);
    }
    return undefined;
  }

  /** Uuids of all datasets that are not frozen. */
  async unfinished(): Promise<readonly string[]> {
    const { datasets } = await readRegistry(this.#store);
    return datasets.filter(({ admin }) => admin.type !== 'dataset').map(({ uuid }) => uuid);
  }

  async #put(spec: DatasetSpec): Promise<void> {
    for (const { key, body, metadata } of datasetObjects(spec))
      await this.#bucket.put(key, body, metadata ? { metadata } : {});
  }
}

function specOf(
  name: string,
  seedOfUuid: string,
  files: readonly { readonly seed: number; readonly length: number }[],
): DatasetSpec {
  return {
    name,
    uuid: uuidOf(seedOfUuid),
    items: files.map((file) => [nameOf(file), knownBytes(file)]),
    createdAt: CREATED_AT,
  };
}
