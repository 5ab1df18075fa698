import { FsError } from '../errors.ts';
import type { DirectoryChanges, NodeChanges } from './tree/changes.ts';
import type { DirectoryNode, Node } from './tree/node.ts';

/** @throws FsError ENOTDIR */
export function directory(node: Node): DirectoryNode {
  if (node.kind !== 'directory') throw new FsError('ENOTDIR', 'not a directory');
  return node;
}

/** @throws FsError EROFS */
export function changesOf(node: DirectoryNode): DirectoryChanges;
export function changesOf(node: Node): NodeChanges;
export function changesOf({ changes }: Node): NodeChanges {
  if (changes === undefined) throw readOnly();
  return changes;
}

export function tooLarge(): FsError {
  return new FsError('EFBIG', 'sizes and offsets have at most 53 bits');
}

export function readOnly(): FsError {
  return new FsError('EROFS', 'frozen datasets are read-only');
}

/** Resolves when the attributes of a node are at hand. */
export async function lookedAt(node: Node): Promise<void> {
  const looking = node.look?.();
  if (looking) await looking;
}
