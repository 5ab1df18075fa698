import { isFileName } from '../../file-name.ts';
import { DATASET_METADATA_OBJECTS_MAX } from '../../limits.ts';
import { listAll, type ListedObject, type ListPage, type ObjectStore } from '../object-store.ts';
import { type Problem, ProblemList } from './format-error.ts';
import {
  ADMIN_METADATA,
  ANNOTATIONS,
  DTOOL_README,
  MANIFEST,
  OVERLAYS,
  README,
  STRUCTURE,
  TAGS,
  type DatasetKeyPrefix,
} from './keys.ts';

const TOP_LEVEL = [ADMIN_METADATA, STRUCTURE, DTOOL_README, README, MANIFEST] as const;

/** The objects at the top of a dataset that dtool reads; any of them may be missing. */
export type TopLevelName = (typeof TOP_LEVEL)[number];

/** What a dataset has besides its items. */
export interface MetadataObjects {
  readonly topLevel: ReadonlyMap<TopLevelName, ListedObject>;
  /** Earlier texts of the README: `README.yml-<seconds since the epoch>`. */
  readonly readmeBackups: readonly ListedObject[];
  /** By the overlay's name, without `.json`. */
  readonly overlays: ReadonlyMap<string, ListedObject>;
  /** By the annotation's name, without `.json`. */
  readonly annotations: ReadonlyMap<string, ListedObject>;
  /** By the tag. */
  readonly tags: ReadonlyMap<string, ListedObject>;
  /** Overlays, annotations and tags with a name that no file can have, and too many of them. */
  readonly problems: readonly Problem[];
}

/**
 * Finds the metadata of a dataset with one list, and one more for each of overlays, annotations and tags that there
 * are. Names of overlays, annotations and tags are file names: the object of an overlay is `<name>.json`.
 *
 * @throws StoreError
 */
export async function listMetadataObjects(
  store: ObjectStore,
  keyPrefix: DatasetKeyPrefix,
  signal?: AbortSignal,
): Promise<MetadataObjects> {
  const topLevel = new Map<TopLevelName, ListedObject>();
  const readmeBackups: ListedObject[] = [];
  const problems = new ProblemList(keyPrefix);
  const folders = new Set<string>();
  const excess: Problem[] = [];
  let seenAtTop = 0;

  let continuationToken: string | undefined;
  do {
    const page: ListPage = await store.listPage(
      { prefix: keyPrefix, delimiter: '/', continuationToken },
      { signal },
    );
    for (const object of page.objects) {
      const name = object.key.slice(keyPrefix.length);
      if (isTopLevelName(name)) topLevel.set(name, object);
      else if (/^README\.yml-\d+(\.\d+)?$/.test(name)) readmeBackups.push(object);
    }
    for (const prefix of page.commonPrefixes) folders.add(prefix.slice(keyPrefix.length));
    continuationToken = page.continuationToken;
    seenAtTop += page.objects.length + page.commonPrefixes.length;
    if (continuationToken !== undefined && seenAtTop >= DATASET_METADATA_OBJECTS_MAX) {
      excess.push(tooMany(keyPrefix));
      break;
    }
  } while (continuationToken !== undefined);

  const listFolder = async (folder: string, extension: string): Promise<Map<string, ListedObject>> => {
    const found = new Map<string, ListedObject>();
    if (!folders.has(folder)) return found;
    let seen = 0;
    for await (const object of listAll(store, keyPrefix + folder, { signal })) {
      seen += 1;
      if (seen > DATASET_METADATA_OBJECTS_MAX) {
        excess.push(tooMany(keyPrefix + folder));
        break;
      }
      const fileName = object.key.slice(keyPrefix.length + folder.length);
      if (isFileName(fileName) && fileName.endsWith(extension) && fileName !== extension) {
        found.set(fileName.slice(0, fileName.length - extension.length), object);
      } else {
        problems.push({ key: object.key, reason: `it can't be shown as a file in ${folder}` });
      }
    }
    return found;
  };
  const [overlays, annotations, tags] = await Promise.all([
    listFolder(OVERLAYS, '.json'),
    listFolder(ANNOTATIONS, '.json'),
    listFolder(TAGS, ''),
  ]);
  return {
    topLevel,
    readmeBackups,
    overlays,
    annotations,
    tags,
    problems: [...problems.sorted(), ...excess],
  };
}

function isTopLevelName(name: string): name is TopLevelName {
  return (TOP_LEVEL as readonly string[]).includes(name);
}

function tooMany(key: string): Problem {
  return { key, reason: `it has more than ${DATASET_METADATA_OBJECTS_MAX} objects; the others are left out` };
}
