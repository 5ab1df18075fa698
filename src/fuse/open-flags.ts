import { constants } from 'node:fs';
import type { Access } from './tree/node.ts';

/** O_APPEND alone changes nothing: it only says where a write would go. */
const WRITE_FLAGS = constants.O_WRONLY | constants.O_RDWR | constants.O_TRUNC;
/** O_ACCMODE, which Node does not name. */
const ACCESS_MODE = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

/** Returns whether flags of open(2) ask for something that may change a file. */
export function isWriting(flags: number): boolean {
  return (flags & WRITE_FLAGS) !== 0;
}

export function accessOf(flags: number): Access {
  const mode = flags & ACCESS_MODE;
  return mode === constants.O_RDONLY ? 'read' : mode === constants.O_WRONLY ? 'write' : 'read-write';
}
