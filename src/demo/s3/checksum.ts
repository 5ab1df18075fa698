import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/**
 * The algorithms of `x-amz-checksum-<name>` that are checked and kept. CRC32C and CRC64NVME are taken without a check
 * and not kept.
 */
export const CHECKSUM_BYTES = { crc32: 4, sha1: 20, sha256: 32 } as const;
export type ChecksumName = keyof typeof CHECKSUM_BYTES;

export function isChecksumName(name: string): name is ChecksumName {
  return Object.hasOwn(CHECKSUM_BYTES, name);
}

/** A checksum as S3 writes it: base64 and, for one over the checksums of parts (COMPOSITE), `-<number of parts>`. */
export interface Checksum {
  readonly name: ChecksumName;
  readonly value: string;
  readonly type: 'FULL_OBJECT' | 'COMPOSITE';
}

export interface Digest {
  update(chunk: Uint8Array): void;
  digest(): Buffer;
}

export function createDigest(name: ChecksumName): Digest {
  if (name !== 'crc32') return createHash(name);
  let value = 0;
  return {
    update: (chunk) => {
      value = crc32(chunk, value);
    },
    digest: () => {
      const bytes = Buffer.alloc(CHECKSUM_BYTES.crc32);
      bytes.writeUInt32BE(value);
      return bytes;
    },
  };
}

/** The checksum of a multipart object: over the checksums of its parts. */
export function compositeChecksum(name: ChecksumName, parts: readonly string[]): Checksum {
  const digest = createDigest(name);
  for (const part of parts) digest.update(Buffer.from(part, 'base64'));
  return { name, value: `${digest.digest().toString('base64')}-${parts.length}`, type: 'COMPOSITE' };
}

/** The elements of XML documents that hold checksums. */
export const CHECKSUM_ELEMENTS = {
  crc32: 'ChecksumCRC32',
  sha1: 'ChecksumSHA1',
  sha256: 'ChecksumSHA256',
} as const satisfies Readonly<Record<ChecksumName, string>>;
