import type { ManifestItem } from '../ecs/dtool/item-table.ts';
import type { Content } from './block-key.ts';

/**
 * The content of an item, as the cache knows it.
 *
 * @param dataset bucket and uuid
 * @param key of the item's object
 * @param hashIsMd5 whether the item's hash is the MD5 of its content
 */
export function itemContent(
  dataset: { readonly bucket: string; readonly uuid: string },
  {
    identifier,
    hash,
    size,
    timestamp,
  }: Omit<ManifestItem, 'relpath' | 'identifier'> & { readonly identifier: string },
  key: string,
  hashIsMd5: boolean,
): Content {
  return {
    // The time tells apart what was written anew into a dataset that is not frozen and may have no hash.
    id: `${dataset.bucket}/${dataset.uuid}/${identifier}/${hash}/${size}/${timestamp}`,
    key,
    size,
    ...(hashIsMd5 ? { md5: hash } : {}),
  };
}
