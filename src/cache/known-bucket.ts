import type { LoadedManifest } from '../ecs/dtool/loaded-manifest.ts';
import type { StoredManifest } from '../ecs/dtool/read-manifest.ts';
import type { DatasetEntry, Registry } from '../ecs/dtool/registry.ts';
import type { MetadataCache } from './metadata-cache.ts';
import { packManifest, unpackManifest } from './packed-manifest.ts';

/** What the metadata cache knows of one bucket. */
export class KnownBucket {
  readonly #cache: MetadataCache;
  /** Endpoint and bucket, which other buckets of the name do not share. */
  readonly #place: string;

  constructor(cache: MetadataCache, endpoint: string, bucket: string) {
    this.#cache = cache;
    this.#place = JSON.stringify([endpoint, bucket]);
  }

  /** The datasets that there were when somebody last looked; undefined when nobody ever did. */
  async registry(): Promise<Registry | undefined> {
    const [text] = (await this.#cache.get(this.#registryName)) ?? [];
    if (!text) return undefined;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what putRegistry wrote: it has its checksum
    const datasets = JSON.parse(Buffer.from(text).toString()) as readonly DatasetEntry[];
    return { datasets, problems: [] };
  }

  async putRegistry({ datasets }: Registry): Promise<void> {
    await this.#cache.put(this.#registryName, [Buffer.from(JSON.stringify(datasets))]);
  }

  /** The manifest of a frozen dataset. */
  async manifest(entry: DatasetEntry): Promise<StoredManifest | undefined> {
    const name = this.#manifestName(entry);
    const parts = name === undefined ? undefined : await this.#cache.get(name);
    return parts && unpackManifest(parts);
  }

  async putManifest(entry: DatasetEntry, { packed }: LoadedManifest): Promise<void> {
    const name = this.#manifestName(entry);
    if (name !== undefined) await this.#cache.put(name, packManifest(packed));
  }

  get #registryName(): string {
    return `registry ${this.#place}`;
  }

  /**
   * What a manifest goes by: a dataset is frozen once, so its uuid, its place and the time say which manifest it is.
   * Without the time nothing would tell a dataset that was made anew.
   */
  #manifestName({ keyPrefix, admin: { frozenAt, createdAt } }: DatasetEntry): string | undefined {
    if (frozenAt === undefined) return undefined;
    return `manifest ${this.#place} ${JSON.stringify([keyPrefix, createdAt, frozenAt])}`;
  }
}
