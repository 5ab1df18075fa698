import type { StoredManifest } from '../ecs/dtool/read-manifest.ts';
import type { TextColumn } from '../ecs/dtool/text-column.ts';

/** The texts of a manifest that are no columns. */
interface Head {
  readonly etag: string;
  readonly dtoolcoreVersion: string | null;
  readonly hashFunction: string | null;
}

/** A manifest as parts of bytes, which share its memory. */
export function packManifest(manifest: StoredManifest): readonly Uint8Array[] {
  const { etag, dtoolcoreVersion, hashFunction, columns, directories } = manifest;
  const head: Head = {
    etag,
    dtoolcoreVersion: dtoolcoreVersion ?? null,
    hashFunction: hashFunction ?? null,
  };
  return [
    Buffer.from(JSON.stringify(head)),
    columns.identifiers,
    ...packText(columns.relpaths),
    bytesOf(columns.sizes),
    bytesOf(columns.timestamps),
    bytesOf(directories.entries),
    bytesOf(directories.entryEnds),
    bytesOf(directories.items),
    bytesOf(directories.nameStarts),
    bytesOf(directories.displaced),
    directories.reasons,
    ...(columns.hashes instanceof Uint8Array ? [columns.hashes] : packText(columns.hashes)),
  ];
}

/** The reverse; the parts, of which each starts at a multiple of 8, go on being used. */
export function unpackManifest(parts: readonly Uint8Array[]): StoredManifest {
  const none = new Uint8Array(0);
  const [first = none, identifiers = none, bytes = none, ends = none, wide = none, sizes = none] = parts;
  const [timestamps = none, entries = none, entryEnds = none, items = none, nameStarts = none] =
    parts.slice(6);
  const [displaced = none, reasons = none, hashes = none, hashEnds, hashWide = none] = parts.slice(11);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what packManifest wrote
  const head = JSON.parse(Buffer.from(first).toString()) as Head;
  return {
    etag: head.etag,
    dtoolcoreVersion: head.dtoolcoreVersion ?? undefined,
    hashFunction: head.hashFunction ?? undefined,
    columns: {
      identifiers,
      relpaths: unpackText(bytes, ends, wide),
      sizes: doublesOf(sizes),
      timestamps: doublesOf(timestamps),
      hashes: hashEnds ? unpackText(hashes, hashEnds, hashWide) : hashes,
    },
    directories: {
      entries: wordsOf(entries),
      entryEnds: wordsOf(entryEnds),
      items: wordsOf(items),
      nameStarts: new Uint16Array(nameStarts.buffer, nameStarts.byteOffset, nameStarts.byteLength / 2),
      displaced: wordsOf(displaced),
      reasons,
    },
  };
}

function packText({ bytes, ends, wide }: TextColumn): readonly Uint8Array[] {
  return [bytes, bytesOf(ends), bytesOf(wide)];
}

function unpackText(bytes: Uint8Array, ends: Uint8Array, wide: Uint8Array): TextColumn {
  return { bytes, ends: wordsOf(ends), wide: wordsOf(wide) };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array): Uint32Array {
  return new Uint32Array(buffer, byteOffset, byteLength / Uint32Array.BYTES_PER_ELEMENT);
}

function doublesOf({ buffer, byteOffset, byteLength }: Uint8Array): Float64Array {
  return new Float64Array(buffer, byteOffset, byteLength / Float64Array.BYTES_PER_ELEMENT);
}
