import type { ContainedDirectory } from '../contained-directory.ts';
import { parseAdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import { FormatError } from '../ecs/dtool/format-error.ts';
import { identifierOf, isUnicodeText, type ItemIdentifier } from '../ecs/dtool/identifier.ts';
import { isJsonObject, parseJson } from '../ecs/dtool/json.ts';
import { isDatasetUuid, README } from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { HASH_FUNCTION, parseManifest } from '../ecs/dtool/manifest.ts';
import { dotlessNameFlaw, nameFlaw } from '../ecs/dtool/names.ts';
import { MANIFEST_MAX_BYTES } from '../limits.ts';
import { mergeFragments } from './fragments.ts';
import { listMetadataFiles, readMetadataFile } from './metadata-file.ts';
import { ItemTable } from './item-table.ts';
import type { FreezeProblems } from './problems.ts';
import type { Source } from './source.ts';
import { walk } from './walk.ts';

/** dtool's layout on disk, dtoolcore.storagebroker.DiskStorageBroker 3.19; see also `ecs/dtool/disk-structure.ts`. */
const ADMIN = '.dtool/dtool';
const MANIFEST = '.dtool/manifest.json';
const DATA = 'data/';
const TOP = new Set(['.dtool', 'data', README]);
const DTOOL_DIRECTORY = new Set([
  'dtool',
  'structure.json',
  'README.txt',
  'manifest.json',
  'overlays',
  'annotations',
  'tags',
  'tmp_fragments',
]);

/**
 * A dataset in dtool's layout on disk, frozen or not.
 *
 * @param folder has a `.dtool/dtool`
 */
export async function readDiskDataset(
  folder: ContainedDirectory,
  problems: FreezeProblems,
  signal: AbortSignal,
  ignore?: readonly string[],
): Promise<Source> {
  const dataset = new DiskDataset(folder, problems);
  const admin = await dataset.admin();
  await dataset.checkNames();
  const names = await listMetadataFiles(folder, '', problems);
  if (!names.includes('data')) problems.refuse(DATA, 'is missing: it has the items');
  const frozen = admin?.type === 'dataset';
  const items = names.includes('data')
    ? await walk({ folder, below: DATA, skip: () => false, ignore, usesTimes: !frozen, problems, signal })
    : new ItemTable(folder, DATA);
  const manifest = frozen ? await dataset.manifest(items) : undefined;
  const readme = await readMetadataFile(folder, README, problems);
  if (frozen && readme === undefined && !names.includes(README))
    problems.refuse(README, 'is missing: a frozen dataset has one, if only an empty one');
  return {
    kind: frozen ? 'frozen' : 'proto',
    items,
    readme,
    tags: await dataset.tags(),
    annotations: await dataset.annotations(),
    overlays: await dataset.overlays(items, frozen),
    admin,
    manifest,
  };
}

class DiskDataset {
  readonly #folder: ContainedDirectory;
  readonly #problems: FreezeProblems;

  constructor(folder: ContainedDirectory, problems: FreezeProblems) {
    this.#folder = folder;
    this.#problems = problems;
  }

  async admin(): Promise<Source['admin']> {
    const body = await readMetadataFile(this.#folder, ADMIN, this.#problems);
    const admin = body && this.#parsed(ADMIN, (where) => parseAdminMetadata({}, body, where));
    if (!admin) return undefined;
    const { uuid } = admin;
    if (isDatasetUuid(uuid)) return { ...admin, uuid };
    this.#problems.refuse(ADMIN, `has ${JSON.stringify(uuid)} where a uuid belongs; correct it`);
    return undefined;
  }

  /** dtool refuses to freeze what has anything else at its top ("Rogue content in base of dataset"). */
  async checkNames(): Promise<void> {
    for (const name of await listMetadataFiles(this.#folder, '', this.#problems)) {
      if (/^README\.yml-[\d.]+$/.test(name))
        this.#problems.warn(name, 'is an earlier README, which is left out as `dtool cp` does');
      else if (!TOP.has(name))
        this.#problems.refuse(name, 'has no place beside data/ in a dtool dataset; move it into data/');
    }
    for (const name of await listMetadataFiles(this.#folder, '.dtool', this.#problems)) {
      if (!DTOOL_DIRECTORY.has(name))
        this.#problems.warn(`.dtool/${name}`, 'is nothing that dtool knows, and is left out');
    }
  }

  /** Checks names and sizes of what is there; contents are for later. */
  async manifest(items: ItemTable): Promise<Source['manifest']> {
    const body = await readMetadataFile(this.#folder, MANIFEST, this.#problems, MANIFEST_MAX_BYTES);
    if (!body) {
      this.#problems.refuse(MANIFEST, 'is missing, though the dataset is frozen');
      return undefined;
    }
    const parsed = this.#parsed(MANIFEST, (where) => parseManifest(body, where));
    if (!parsed) return undefined;
    if (parsed.hashFunction !== HASH_FUNCTION) {
      this.#problems.refuse(
        MANIFEST,
        `has hashes by ${parsed.hashFunction ?? 'an unknown function'}; datasets on S3 need ${HASH_FUNCTION}`,
      );
    }
    const described = new Map<ItemIdentifier, ManifestItem>();
    for (const item of parsed.items) {
      described.set(item.identifier, item);
      if (!isUnicodeText(item.relpath) || identifierOf(item.relpath) !== item.identifier) {
        this.#problems.refuse(
          MANIFEST,
          `has ${JSON.stringify(item.relpath)} as item ${item.identifier}, which belongs to another path`,
        );
      }
    }
    const missing = new Map(described);
    for (const { identifier, relpath, size } of items) {
      const item = described.get(identifier);
      missing.delete(identifier);
      if (!item) {
        this.#problems.refuse(DATA + relpath, 'is not in the manifest of the frozen dataset; remove it');
      } else if (item.size !== size) {
        this.#problems.refuse(
          DATA + relpath,
          `has ${size} bytes where the manifest says ${item.size}; restore it`,
        );
      }
    }
    for (const { relpath } of missing.values())
      this.#problems.refuse(DATA + relpath, 'is missing, though the manifest has it; restore it');
    return { body, items: described };
  }

  async tags(): Promise<readonly string[]> {
    const tags = await listMetadataFiles(this.#folder, '.dtool/tags', this.#problems);
    for (const tag of tags) this.#checkName(`.dtool/tags/${tag}`, nameFlaw(tag));
    return tags;
  }

  async annotations(): Promise<ReadonlyMap<string, Buffer>> {
    return this.#jsonFiles('.dtool/annotations', () => undefined);
  }

  /** Those that are there and, before the freeze, those that the item metadata gathered so far make. */
  async overlays(items: ItemTable, frozen: boolean): Promise<ReadonlyMap<string, Buffer>> {
    const overlays = await this.#jsonFiles('.dtool/overlays', (value) => {
      if (!isJsonObject(value)) return 'is no JSON object';
      const keys = Object.keys(value);
      const same = keys.length === items.length && keys.every((key) => items.indexOf(key) !== undefined);
      return same ? undefined : 'has not exactly the identifiers of the items; correct or remove it';
    });
    if (frozen) return overlays;
    const made = await mergeFragments(this.#folder, '.dtool/tmp_fragments', items, this.#problems);
    return new Map([...overlays, ...made]);
  }

  async #jsonFiles(
    place: string,
    flawOf: (value: unknown) => string | undefined,
  ): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    for (const fileName of await listMetadataFiles(this.#folder, place, this.#problems)) {
      const path = `${place}/${fileName}`;
      const name = fileName.replace(/\.json$/, '');
      this.#checkName(path, name === fileName ? 'has not the extension .json' : dotlessNameFlaw(name));
      const body = await readMetadataFile(this.#folder, path, this.#problems);
      const parsed = body && this.#parsed(path, (where) => ({ value: parseJson(body, where) }));
      if (!body || !parsed) continue;
      const flaw = flawOf(parsed.value);
      if (flaw !== undefined) this.#problems.refuse(path, flaw);
      found.set(name, body);
    }
    return found;
  }

  #checkName(path: string, flaw: string | undefined): void {
    if (flaw !== undefined) this.#problems.refuse(path, `${flaw}; rename it`);
  }

  #parsed<T>(path: string, parse: (where: { bucket: string; key: string }) => T): T | undefined {
    try {
      return parse({ bucket: this.#folder.path, key: path });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#problems.refuse(path, `${error.reason}; correct it`);
      return undefined;
    }
  }
}
