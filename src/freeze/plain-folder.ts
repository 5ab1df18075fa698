import type { ContainedDirectory } from '../contained-directory.ts';
import { README } from '../ecs/dtool/keys.ts';
import { METADATA_LINK, readMetadataFile } from './metadata-file.ts';
import type { FreezeProblems } from './problems.ts';
import type { Source } from './source.ts';
import { walk } from './walk.ts';

/**
 * A folder that knows nothing of dtool: every file is an item, and a README.yml at the top the README.
 */
export async function readPlainFolder(
  folder: ContainedDirectory,
  problems: FreezeProblems,
  signal: AbortSignal,
  ignore?: readonly string[],
): Promise<Source> {
  const reserved = await folder.lstat('.dtool').catch(() => undefined);
  if (reserved?.isSymbolicLink()) problems.refuse('.dtool', METADATA_LINK);
  else if (reserved) {
    problems.refuse(
      '.dtool',
      'is the place of dtool\'s metadata, but has no file "dtool"; remove it, or restore it',
    );
  }
  const items = await walk({
    folder,
    below: '',
    skip: (name) => name === README || name === '.dtool',
    ignore,
    usesTimes: true,
    problems,
    signal,
  });
  return {
    kind: 'folder',
    items,
    readme: await readMetadataFile(folder, README, problems),
    tags: [],
    annotations: new Map(),
    overlays: new Map(),
    admin: undefined,
    manifest: undefined,
  };
}
