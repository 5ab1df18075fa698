import { DATA, type DatasetKeyPrefix } from '../ecs/dtool/keys.ts';
import type { ListedObject } from '../ecs/object-store.ts';
import type { ItemTable, SourceItem } from './item-table.ts';
import { ItemMd5s } from './item-md5.ts';

/** What the store has for an item: an object of another size is none. `etag` is undefined where it is no MD5. */
export interface PresentItem {
  readonly etag: string | undefined;
}

const ABSENT = 0;
const OTHER_SIZE = 1;
const SAME_SIZE = 2;

/** What a bucket has of a dataset already, packed. */
export class PresentObjects {
  /** Keys that are no item's. */
  readonly others: string[] = [];
  readonly #dataPrefix: string;
  readonly #items: ItemTable;
  readonly #found: Uint8Array;
  readonly #etags: ItemMd5s;
  #size = 0;

  constructor(keyPrefix: DatasetKeyPrefix, items: ItemTable) {
    this.#dataPrefix = keyPrefix + DATA;
    this.#items = items;
    this.#found = new Uint8Array(items.length);
    this.#etags = new ItemMd5s(items.length);
  }

  /** How many objects were added. */
  get size(): number {
    return this.#size;
  }

  add({ key, size, etag }: ListedObject): void {
    this.#size += 1;
    const index = key.startsWith(this.#dataPrefix)
      ? this.#items.indexOf(key.slice(this.#dataPrefix.length))
      : undefined;
    if (index === undefined) {
      this.others.push(key);
      return;
    }
    const item = this.#items.at(index);
    this.#found[index] = item.size === size ? SAME_SIZE : OTHER_SIZE;
    if (/^[0-9a-f]{32}$/.test(etag)) this.#etags.set(item, etag);
  }

  get(item: SourceItem): PresentItem | undefined {
    if ((this.#found[item.index] ?? ABSENT) !== SAME_SIZE) return undefined;
    return { etag: this.#etags.get(item) };
  }
}
