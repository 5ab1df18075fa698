import type { Owner } from './tree/changes.ts';
import type { DirectoryNode } from './tree/node.ts';

const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTE = 0o010;

/** Returns who owns what is new in a directory: its group is the directory's where that has set-group-id, see inode(7). */
export function ownerIn(parent: DirectoryNode, owner: Owner): Owner {
  const { mode, gid } = parent.attributes();
  return (mode & SET_GROUP_ID) === 0 ? owner : { uid: owner.uid, gid };
}

/** Returns the mode of a new directory, which inherits set-group-id. */
export function modeIn(parent: DirectoryNode, mode: number): number {
  return mode | (parent.attributes().mode & SET_GROUP_ID);
}

/**
 * Returns the mode of a file after somebody without privileges has changed it, or its owner was changed.
 *
 * Set-group-id without permission to execute once meant mandatory locking, and is no privilege: only those who are not of
 * the group lose it. Of the groups of a caller the kernel tells one.
 */
export function withoutPrivileges(mode: number, isForeign: boolean): number {
  const keepsGroup = (mode & GROUP_EXECUTE) === 0 && !isForeign;
  return mode & ~(SET_USER_ID | (keepsGroup ? 0 : SET_GROUP_ID));
}
