import { createHash } from 'node:crypto';

/** The root's inode number, as FUSE has it. */
export const ROOT_INO = 1;

/**
 * The inode number of what the parts name: the same at every mount and on every machine, and different for different
 * parts but for the odds of a 53-bit hash.
 *
 * @returns a safe integer above {@link ROOT_INO}
 */
export function inodeNumber(...parts: readonly string[]): number {
  const digest = createHash('sha1').update(parts.join('\0')).digest();
  return fromWords(digest.readUInt32BE(0), digest.readUInt32BE(4));
}

/** Inode numbers of the items of one dataset, from the hash that an identifier is already. */
export class ItemInodeNumbers {
  readonly #high: number;
  readonly #low: number;

  constructor(uuid: string) {
    const digest = createHash('sha1').update(`items\0${uuid}`).digest();
    this.#high = digest.readUInt32BE(0);
    this.#low = digest.readUInt32BE(4);
  }

  /** @param identifier at least 16 hex digits */
  of(identifier: string): number {
    const high = Number.parseInt(identifier.slice(0, 8), 16) ^ this.#high;
    const low = Number.parseInt(identifier.slice(8, 16), 16) ^ this.#low;
    return fromWords(high >>> 0, low >>> 0);
  }
}

function fromWords(high: number, low: number): number {
  const ino = (high & 0x1fffff) * 0x1_0000_0000 + low;
  return ino > ROOT_INO ? ino : ino + 2;
}
