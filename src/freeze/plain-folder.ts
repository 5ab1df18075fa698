import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { README } from '../ecs/dtool/keys.ts';
import { readMetadataFile } from './metadata-file.ts';
import type { FreezeProblems } from './problems.ts';
import type { Source } from './source.ts';
import { walk } from './walk.ts';

/**
 * A folder that knows nothing of dtool: every file is an item, and a README.yml at the top the README.
 *
 * @param root absolute and free of symbolic links
 */
export async function readPlainFolder(
  root: string,
  problems: FreezeProblems,
  signal: AbortSignal,
): Promise<Source> {
  const reserved = await lstat(join(root, '.dtool')).catch(() => undefined);
  if (reserved) {
    problems.refuse(
      '.dtool',
      'is the place of dtool\'s metadata, but has no file "dtool"; remove it, or restore it',
    );
  }
  const items = await walk({
    root,
    below: '',
    skip: (name) => name === README || name === '.dtool',
    problems,
    signal,
  });
  return {
    kind: 'folder',
    items,
    readme: await readMetadataFile(root, README, problems),
    tags: [],
    annotations: new Map(),
    overlays: new Map(),
    admin: undefined,
    manifest: undefined,
  };
}
