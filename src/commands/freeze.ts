import { freezeStaged } from './freeze-staged.ts';
import { findStaged } from './staged-path.ts';

export interface FreezeCommandOptions {
  readonly bucket?: string;
  readonly name?: string;
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly keepStaging: boolean;
  /** Patterns of items that are left out. */
  readonly ignore?: readonly string[];
}

/**
 * Makes a dataset of a directory: a folder in the staging area of a mount, which then does the work, or any other,
 * which needs no mount.
 *
 * @param wrongUsage ends the command with the message
 * @throws UserError that says what is wrong and what to do
 */
export async function freezeCommand(
  path: string,
  options: FreezeCommandOptions,
  wrongUsage: (message: string) => never,
): Promise<void> {
  const { bucket } = options;
  const staged = await findStaged(path);
  if (staged && (bucket ?? staged.bucket) !== staged.bucket)
    wrongUsage(
      `error: ${path} is staged for bucket ${staged.bucket}; move or copy it to freeze it elsewhere`,
    );
  if (staged) return freezeStaged(staged, path, options);
  if (bucket === undefined) {
    return wrongUsage(
      `error: ${path} is in no staging area; give --bucket <name>, or copy it into staging/ of a mount`,
    );
  }
  // What talks to a store takes a while to load; a mount does that itself.
  const { freezeDirectory } = await import('./freeze-directory.ts');
  return freezeDirectory(path, { ...options, bucket });
}
