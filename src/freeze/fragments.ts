import { isUtf8 } from 'node:buffer';
import type { ContainedDirectory } from '../contained-directory.ts';
import { dotlessNameFlaw } from '../ecs/dtool/names.ts';
import { listMetadataFiles, readMetadataFile } from './metadata-file.ts';
import type { FreezeProblems } from './problems.ts';
import type { ItemTable } from './item-table.ts';

/**
 * Makes overlays of the item metadata that dtool keeps until a dataset is frozen: files `<identifier>.<name>.json`
 * with one value each. Items without a value get null, where dtool would refuse the whole overlay.
 *
 * @param place of the files, below the folder
 * @returns JSON by the overlay's name
 */
export async function mergeFragments(
  folder: ContainedDirectory,
  place: string,
  items: ItemTable,
  problems: FreezeProblems,
): Promise<ReadonlyMap<string, Buffer>> {
  // The text of a value is kept as it is: 1.0 is another number than 1 in Python.
  const values = new Map<string, Map<string, string>>();
  for (const fileName of await listMetadataFiles(folder, place, problems)) {
    const path = `${place}/${fileName}`;
    const [, identifier = '', name = ''] = /^([0-9a-f]{40})\.(.+)\.json$/.exec(fileName) ?? [];
    const flaw = identifier === '' ? 'is no item metadata; remove it' : dotlessNameFlaw(name);
    if (flaw !== undefined) {
      problems.refuse(path, flaw);
    } else if (items.indexOf(identifier) === undefined) {
      problems.warn(path, 'is about an item that is not there, and is left out');
    } else {
      const body = await readMetadataFile(folder, path, problems);
      const text = body && isUtf8(body) ? body.toString() : '';
      if (isJson(text)) values.set(name, (values.get(name) ?? new Map()).set(identifier, text.trim()));
      else if (body) problems.refuse(path, 'is not JSON; correct or remove it');
    }
  }
  return new Map(
    Array.from(values, ([name, byItem]) => {
      const members = Array.from(
        items.identifiers(),
        (identifier) => `  "${identifier}": ${byItem.get(identifier) ?? 'null'}`,
      );
      return [name, Buffer.from(`{\n${members.join(',\n')}\n}`)];
    }),
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
