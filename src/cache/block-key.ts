/**
 * Bytes in the store that never change under their name: what the cache may keep for ever. Whoever makes one
 * vouches that `id` names the content and not just the place, so that a stale block can't be served.
 */
export interface Content {
  /** Unique for these bytes, such as bucket, dataset, identifier and hash of an item. */
  readonly id: string;
  /** The object's key in its bucket. */
  readonly key: string;
  /** Bytes that the object must have; one of another size is not this content. */
  readonly size: number;
  /** The ETag that the object must have; undefined where the size alone is known. */
  readonly etag?: string;
  /** MD5 of the whole content in hex; checked where a single block holds all of it. */
  readonly md5?: string;
}

/** The name of one block of a content. */
export function blockKey(content: Content, block: number): string {
  return `${content.id}#${block}`;
}
