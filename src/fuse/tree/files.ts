import type { BlockCache } from '../../cache/block-cache.ts';
import type { Content } from '../../cache/block-key.ts';
import { ContentReader } from '../../cache/read-ahead.ts';
import type { ObjectStore } from '../../ecs/object-store.ts';
import { FsError, isAbort } from '../../errors.ts';
import type { Attributes, FileNode, Lifetime, OpenFile, SymlinkNode } from './node.ts';

/** Where the bytes of files come from, and who hears how it went. */
export interface ContentSource {
  readonly store: ObjectStore;
  readonly cache: BlockCache;
  /** Hears of every read that failed, but not of those that were given up or came too late for a replaced object. */
  readonly onReadError: (key: string, error: unknown) => void;
  /** Hears of every read that went well. */
  readonly onRead: (key: string) => void;
}

/**
 * Opens content of the store for reading.
 *
 * @param onStale hears when the object turns out to be replaced
 */
export function openContent(
  source: ContentSource,
  content: Content,
  onStale: () => void = () => {},
): OpenFile {
  try {
    source.cache.check(source.store, content);
  } catch (error) {
    source.onReadError(content.key, error);
    throw error;
  }
  const reader = new ContentReader(source.cache, source.store, content);
  return {
    read: async (offset, length, signal, use) => {
      try {
        return await reader.read(offset, length, signal, (parts) => {
          source.onRead(content.key);
          return use(parts);
        });
      } catch (error) {
        if (error instanceof FsError && error.code === 'ESTALE') onStale();
        else if (!isAbort(error)) source.onReadError(content.key, error);
        throw error;
      }
    },
    close: () => reader.close(),
  };
}

/**
 * An object in the store that may be replaced by another while it is mounted. The file stands for the one object: when
 * there is another one, its name stands for another file.
 */
export class ReplaceableFile implements FileNode {
  readonly kind = 'file';
  readonly lifetime: Lifetime = 'forever';
  readonly content: Content;
  readonly #source: ContentSource;
  readonly #attributes: Attributes;
  readonly #onStale: () => void;

  /** @param onStale makes the next one who looks the name up see the object that is there now */
  constructor(source: ContentSource, content: Content, attributes: Attributes, onStale: () => void) {
    this.#source = source;
    this.content = content;
    this.#attributes = attributes;
    this.#onStale = onStale;
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  /**
   * Reads the beginning first, unless it is in the cache: an open that finds the object replaced or gone fails with
   * ESTALE, whereupon the kernel looks the name up again and repeats the open. A read that found out could only fail.
   */
  async open(signal: AbortSignal): Promise<OpenFile> {
    const file = openContent(this.#source, this.content, this.#onStale);
    await file.read(0, 1, signal, () => {});
    return file;
  }
}

/** A small file that is made here and not in the store. */
export class MemoryFile implements FileNode {
  readonly kind = 'file';
  readonly lifetime: Lifetime = 'forever';
  readonly #content: Uint8Array;
  readonly #attributes: Attributes;

  constructor(content: Uint8Array, attributes: Attributes) {
    this.#content = content;
    this.#attributes = attributes;
  }

  attributes(): Attributes {
    return this.#attributes;
  }

  async open(): Promise<OpenFile> {
    return {
      read: async (offset, length, _, use) => use([this.#content.subarray(offset, offset + length)]),
      close: () => {},
    };
  }
}

export class Symlink implements SymlinkNode {
  readonly kind = 'symlink';
  readonly lifetime: Lifetime = 'forever';
  readonly target: string;
  readonly #attributes: Attributes;

  constructor(target: string, attributes: Attributes) {
    this.target = target;
    this.#attributes = attributes;
  }

  attributes(): Attributes {
    return this.#attributes;
  }
}
