/**
 * User metadata of an object has at most 2 KiB, names and values together; with the names `handle` and `checksum` and
 * an MD5 in hex, base64 has room for this many bytes of UTF-8.
 */
export const RELPATH_MAX_BYTES = 1_500;

/**
 * User metadata of an item's object as dtool-s3 writes it from version 0.14.0 on.
 *
 * @param relpath at most {@link RELPATH_MAX_BYTES} of UTF-8
 * @param md5 of the content, in hex
 */
export function itemMetadata(relpath: string, md5: string): Readonly<Record<'handle' | 'checksum', string>> {
  return { handle: Buffer.from(relpath, 'utf8').toString('base64'), checksum: md5 };
}
