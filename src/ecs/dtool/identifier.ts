import { createHash } from 'node:crypto';
import { FsError } from '../../errors.ts';

declare const identifierBrand: unique symbol;

/** The name of an item's object under `data/`: 40 lower-case hex digits. */
export type ItemIdentifier = string & { readonly [identifierBrand]: true };

const IDENTIFIER = /^[0-9a-f]{40}$/;

export function isItemIdentifier(text: string): text is ItemIdentifier {
  return IDENTIFIER.test(text);
}

/** Whether a string is Unicode text, that is, has a UTF-8 form: no half of a surrogate pair stands alone. */
export function isUnicodeText(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/**
 * The identifier that an item gets by its relpath: the SHA-1 of the UTF-8 (`dtoolcore.utils.generate_identifier`).
 *
 * @throws FsError EILSEQ for a relpath with a lone surrogate: it has no UTF-8. Python refuses it too, where Buffer
 *   would put U+FFFD in its place and so give two relpaths one identifier.
 */
export function identifierOf(relpath: string): ItemIdentifier {
  if (!isUnicodeText(relpath)) {
    throw new FsError('EILSEQ', `${JSON.stringify(relpath)} is not Unicode text`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a SHA-1 in hex is an identifier
  return createHash('sha1').update(relpath, 'utf8').digest('hex') as ItemIdentifier;
}
