import { NAME_MAX_BYTES } from './limits.ts';

declare const fileName: unique symbol;
/** A string that can be a name in a directory: 1 to 255 bytes of UTF-8, no `/`, no NUL, not `.` or `..`. */
export type FileName = string & { readonly [fileName]: true };

/** Why a string is no file name, as the end of a sentence about a path with it; undefined when it is one. */
export function fileNameFlaw(name: string): string | undefined {
  if (name === '') return 'has an empty component';
  if (name === '.' || name === '..') return `has a component ${name}`;
  if (name.includes('/')) return 'contains a slash';
  if (name.includes('\0')) return 'contains NUL';
  if (/\p{Surrogate}/u.test(name)) return 'is not valid Unicode';
  if (Buffer.byteLength(name) > NAME_MAX_BYTES) return `has a component over ${NAME_MAX_BYTES} bytes`;
  return undefined;
}

export function isFileName(name: string): name is FileName {
  return fileNameFlaw(name) === undefined;
}

/**
 * A file name as near as possible to a name that somebody else chose: what no file name can have becomes `_`, and
 * what is too long is cut.
 *
 * @param suffix ends the name uncut; 1 to 200 bytes that a file name can have
 */
export function safeFileName(name: string, suffix: string): FileName {
  let stem = name
    .slice(0, NAME_MAX_BYTES)
    .replace(/[/\p{Control}\p{Surrogate}]/gu, '_')
    .replace(/^\./, '_');
  while (Buffer.byteLength(stem + suffix) > NAME_MAX_BYTES) stem = Array.from(stem).slice(0, -1).join('');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- here is where the brand comes from
  return (stem + suffix) as FileName;
}
