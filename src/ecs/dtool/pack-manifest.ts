import { buildDirectories, type DirectoryColumns } from './item-directories.ts';
import { ItemTable } from './item-table.ts';
import { type ByteSource, JsonFlaw } from './json-scanner.ts';
import { type ParsedManifest, parseManifestText } from './parse-manifest.ts';

/** A manifest and the directories of its items, as plain data. */
export interface PackedManifest extends ParsedManifest {
  readonly directories: DirectoryColumns;
}

/** Reads a manifest as {@link parseManifestText} does, and finds the places of its items. */
export function packManifestText(next: ByteSource): PackedManifest | { readonly flaw: string } {
  const parsed = parseManifestText(next);
  if ('flaw' in parsed) return parsed;
  try {
    return { ...parsed, directories: buildDirectories(new ItemTable(parsed.columns)) };
  } catch (error) {
    if (error instanceof JsonFlaw) return { flaw: error.message };
    throw error;
  }
}
