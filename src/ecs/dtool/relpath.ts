import { type FileName, fileNameFlaw } from '../../file-name.ts';
import { PATH_MAX_BYTES } from '../../limits.ts';

/**
 * Takes an item's relpath apart, which whoever made the dataset chose freely.
 *
 * @returns the directories from the top and the file's name, or what is wrong, as the end of a sentence
 */
export function parseRelpath(
  relpath: string,
): { readonly directories: readonly FileName[]; readonly name: FileName } | { readonly flaw: string } {
  if (relpath === '') return { flaw: 'is empty' };
  if (relpath.startsWith('/')) return { flaw: 'starts with a slash' };
  if (relpath.endsWith('/')) return { flaw: 'ends with a slash' };
  if (Buffer.byteLength(relpath) > PATH_MAX_BYTES) return { flaw: `is longer than ${PATH_MAX_BYTES} bytes` };
  const components = relpath.split('/');
  const flaw = components.map(fileNameFlaw).find((found) => found !== undefined);
  if (flaw !== undefined) return { flaw };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- none of them has a flaw
  const directories = components as FileName[];
  const name = directories.pop();
  return name === undefined ? { flaw: 'is empty' } : { directories, name };
}
