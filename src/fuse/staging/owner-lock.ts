import { z } from 'zod';
import { UserError } from '../../errors.ts';
import { FileLock } from '../../file-lock.ts';

/** Who has a staging area, in the words of its file. */
const OWNER = z.object({ pid: z.number(), mountpoint: z.string(), since: z.string() });
export type Owner = z.infer<typeof OWNER>;

/**
 * Makes a mount the owner of a staging area.
 *
 * @param path of the file that is locked, which is made where it is missing
 * @throws UserError that says who has it, or what keeps us from asking
 */
export async function takeOwnership(path: string, owner: Owner): Promise<FileLock> {
  const advice = 'give a directory on another one with --staging-dir.';
  const lock = await FileLock.take(path, `${JSON.stringify(owner)}\n`, advice);
  if (lock instanceof FileLock) return lock;
  throw taken(path, lock.heldBy);
}

function taken(path: string, content: string): UserError {
  let owner: Owner;
  try {
    owner = OWNER.parse(JSON.parse(content));
  } catch {
    return new UserError(`another mount has it (${path} is locked)`, 'Unmount that one, and mount again.');
  }
  return new UserError(
    `the mount at ${owner.mountpoint} (process ${owner.pid}) has it`,
    `Stage there, or unmount it ("dtool-ecs-mount umount ${owner.mountpoint}") and mount again.`,
  );
}
