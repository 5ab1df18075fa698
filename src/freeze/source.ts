import type { ContainedDirectory } from '../contained-directory.ts';
import type { AdminMetadata } from '../ecs/dtool/admin-metadata.ts';
import type { ItemIdentifier } from '../ecs/dtool/identifier.ts';
import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import { readDiskDataset } from './disk-dataset.ts';
import { readPlainFolder } from './plain-folder.ts';
import type { FreezeProblems } from './problems.ts';
import type { ItemTable } from './item-table.ts';

/** What a directory has that can become a dataset. */
export interface Source {
  /** A plain folder, dtool's layout on disk, or a frozen dataset in that layout. */
  readonly kind: 'folder' | 'proto' | 'frozen';
  readonly items: ItemTable;
  /** Undefined where there is none. */
  readonly readme: Buffer | undefined;
  readonly tags: readonly string[];
  /** JSON by name. */
  readonly annotations: ReadonlyMap<string, Buffer>;
  /** JSON by name: an object with exactly the identifiers of the items. */
  readonly overlays: ReadonlyMap<string, Buffer>;
  /** What dtool's layout says; undefined for a plain folder. */
  readonly admin: (AdminMetadata & { readonly uuid: DatasetUuid }) | undefined;
  /** Of a frozen dataset. */
  readonly manifest:
    | { readonly body: Buffer; readonly items: ReadonlyMap<ItemIdentifier, ManifestItem> }
    | undefined;
}

/**
 * Reads a folder and tells the three kinds apart by what it holds. What is wrong with it goes to the problems; the
 * result then has gaps.
 *
 * @param ignore patterns of items that are left out, see `ignoring`
 *
 * @throws the signal's reason
 */
export async function readSource(
  folder: ContainedDirectory,
  problems: FreezeProblems,
  signal: AbortSignal,
  ignore?: readonly string[],
): Promise<Source> {
  const isDataset = await folder.lstat('.dtool/dtool').then(
    () => true,
    () => false,
  );
  const read = isDataset ? readDiskDataset : readPlainFolder;
  return read(folder, problems, signal, ignore);
}
