import { DATA, type DatasetKeyPrefix } from '../ecs/dtool/keys.ts';
import type { ListedObject } from '../ecs/object-store.ts';
import { DiscardMarks } from './discard-marks.ts';
import { isFreezeMark } from './freeze-mark.ts';
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
  /** Those that are no item's and no mark, by their path below the key prefix. */
  readonly others = new Map<string, Pick<ListedObject, 'size' | 'etag'>>();
  readonly discards = new DiscardMarks();
  /** Paths of the marks of freezes. */
  readonly freezeMarks: string[] = [];
  readonly #keyPrefix: DatasetKeyPrefix;
  readonly #items: ItemTable;
  readonly #found: Uint8Array;
  readonly #etags: ItemMd5s;
  #size = 0;

  constructor(keyPrefix: DatasetKeyPrefix, items: ItemTable) {
    this.#keyPrefix = keyPrefix;
    this.#items = items;
    this.#found = new Uint8Array(items.length);
    this.#etags = new ItemMd5s(items.length);
  }

  /** How many objects were added, marks excepted. */
  get size(): number {
    return this.#size;
  }

  add({ key, size, etag }: ListedObject): void {
    const path = key.slice(this.#keyPrefix.length);
    if (DiscardMarks.includes(path)) return this.discards.add(path);
    if (isFreezeMark(path)) return void this.freezeMarks.push(path);
    this.#size += 1;
    const index = path.startsWith(DATA) ? this.#items.indexOf(path.slice(DATA.length)) : undefined;
    if (index === undefined) {
      this.others.set(path, { size, etag });
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
