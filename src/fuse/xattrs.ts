import { FsError } from '../errors.ts';
import type { Node } from './tree/node.ts';

/** The only extended attributes that can be set: the others mean something to the kernel, which is not ours to say. */
const PREFIX = 'user.';

/** @throws FsError ENODATA, and ENOTSUP for all that begin otherwise */
export async function get(node: Node, name: string): Promise<Uint8Array> {
  const value = name.startsWith(PREFIX) ? await node.xattrs?.get(name) : undefined;
  if (value !== undefined) return value;
  // ls -l asks for ACLs and security labels; told "not supported" it asks once and not for every file.
  throw new FsError(name.startsWith(PREFIX) ? 'ENODATA' : 'ENOTSUP', `no extended attribute ${name}`);
}

/**
 * Returns a name that can be set.
 *
 * @throws FsError ENOTSUP for all others
 */
export function settable(name: string): string {
  if (!name.startsWith(PREFIX)) throw new FsError('ENOTSUP', `${name} can not be set here`);
  return name;
}
