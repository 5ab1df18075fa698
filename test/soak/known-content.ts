/** A file whose name says what is in it, so that whoever finds it anywhere knows what its bytes have to be. */
export interface KnownFile {
  readonly seed: number;
  /** Bytes. */
  readonly length: number;
}

export function nameOf({ seed, length }: KnownFile): string {
  return `${seed}-${length}`;
}

/** @returns undefined for what is no such name */
export function knownFileOf(name: string): KnownFile | undefined {
  const [, seed, length] = /^(\d+)-(\d+)$/.exec(name) ?? [];
  return seed === undefined || length === undefined
    ? undefined
    : { seed: Number(seed), length: Number(length) };
}

/**
 * What is at a place of a file: each four bytes a hash of the seed and of their place (the finaliser of MurmurHash3 by
 * Austin Appleby, public domain), so bytes from any other place or file are other ones.
 */
export function knownBytes({ seed, length }: KnownFile, offset = 0, count = length - offset): Buffer {
  const end = Math.max(offset, Math.min(length, offset + count));
  const first = Math.floor(offset / 4);
  const words = Buffer.alloc((Math.ceil(end / 4) - first) * 4);
  const salt = Math.imul(seed + 1, 0x9e3779b1);
  for (let at = 0; at < words.length; at += 4) {
    let word = Math.imul((first + at / 4) ^ salt, 0x85ebca6b);
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
    words.writeInt32LE(word ^ (word >>> 16), at);
  }
  return words.subarray(offset - first * 4, end - first * 4);
}
