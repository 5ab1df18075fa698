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

/** The number of a local file: a number where that is exact, as on nearly all file systems. */
export type LocalInode = number | bigint;

export function localInode(ino: bigint): LocalInode {
  return ino <= Number.MAX_SAFE_INTEGER ? Number(ino) : ino;
}

/** Inode numbers that are shown for local ones, different for different ones below 2^53. */
export class LocalInodeNumbers {
  readonly #area: string;
  readonly #high: number;
  readonly #low: number;

  /** @param area of which the local files are: others have other numbers */
  constructor(area: string) {
    this.#area = area;
    const digest = createHash('sha1').update(`staging\0${area}`).digest();
    this.#high = digest.readUInt32BE(0);
    this.#low = digest.readUInt32BE(4);
  }

  of(inode: LocalInode): number {
    if (typeof inode === 'bigint') return inodeNumber('staging', this.#area, String(inode));
    const high = Math.floor(inode / 2 ** 32) ^ this.#high;
    return fromWords(high >>> 0, ((inode % 2 ** 32) ^ this.#low) >>> 0);
  }
}

function fromWords(high: number, low: number): number {
  const ino = (high & 0x1fffff) * 0x1_0000_0000 + low;
  return ino > ROOT_INO ? ino : ino + 2;
}
