import {
  type Attributes,
  type FileNode,
  type Lifetime,
  type Node,
  type OpenFile,
  type Timestamp,
} from './node.ts';
import { type Ownership, readOnlyAttributes, timestampOfSeconds } from './attributes.ts';
import { Directory, type Entries } from './directory.ts';
import { type ContentSource, openContent } from './files.ts';
import { ItemInodeNumbers, inodeNumber } from './inode-numbers.ts';
import type { FileName } from '../../file-name.ts';
import { parseRelpath } from './relpath.ts';

/** What a tree of items needs to know of an item, from a manifest or from the objects of a proto dataset. */
export interface TreeItem {
  /** 40 hex digits. */
  readonly identifier: string;
  readonly relpath: string;
  /** Bytes. */
  readonly size: number;
  /** MD5 in hex, or whatever hash the manifest has; empty where none is known. */
  readonly hash: string;
  /** Seconds since the epoch. */
  readonly timestamp: number;
}

/** The dataset that items belong to. */
export interface ItemOwner {
  readonly uuid: string;
  readonly ownership: Ownership;
  readonly source: ContentSource;
  readonly lifetime: Lifetime;
  /** Of the directories, which have no time of their own. */
  readonly time: Timestamp;
  /** Whether `hash` of the items is the MD5 of their content. */
  readonly hashIsMd5: boolean;
  keyOf(identifier: string): string;
}

export interface ItemTree {
  /** The entries of the data directory. */
  readonly data: Entries;
  /** The items whose relpath is no path, by identifier. */
  readonly unrepresentable: ReadonlyMap<string, Node>;
  /** What was wrong with these, a sentence each. */
  readonly flaws: ReadonlyMap<string, string>;
  readonly bytes: number;
  readonly files: number;
}

class ItemFile implements FileNode {
  readonly kind = 'file';
  readonly #family: Family;
  readonly item: TreeItem;

  constructor(family: Family, item: TreeItem) {
    this.#family = family;
    this.item = item;
  }

  get lifetime(): Lifetime {
    return this.#family.owner.lifetime;
  }

  attributes(): Attributes {
    const { owner, inodeNumbers } = this.#family;
    const { identifier, size, timestamp } = this.item;
    return readOnlyAttributes(
      'file',
      owner.ownership,
      inodeNumbers.of(identifier),
      size,
      timestampOfSeconds(timestamp),
    );
  }

  async open(): Promise<OpenFile> {
    const { owner } = this.#family;
    const { identifier, size, hash } = this.item;
    return openContent(owner.source, {
      id: `${owner.source.store.bucket}/${owner.uuid}/${identifier}/${hash}/${size}`,
      key: owner.keyOf(identifier),
      size,
      ...(owner.hashIsMd5 ? { md5: hash } : {}),
    });
  }
}

/** What all items of a dataset share. */
interface Family {
  readonly owner: ItemOwner;
  readonly inodeNumbers: ItemInodeNumbers;
}

/** A directory while the items are put in their places. */
type Branch = Map<FileName, Branch | ItemFile>;

/**
 * Puts items where their relpaths say. One whose relpath is no path, or whose place is taken (a name can't be a file
 * and a directory: the directory stays), is kept by its identifier instead; nothing is lost and nothing can get out
 * of the data directory.
 */
export function buildItemTree(owner: ItemOwner, items: Iterable<TreeItem>): ItemTree {
  const family: Family = { owner, inodeNumbers: new ItemInodeNumbers(owner.uuid) };
  const root: Branch = new Map();
  const unrepresentable = new Map<string, Node>();
  const flaws = new Map<string, string>();
  let bytes = 0;
  let files = 0;
  const displace = (file: ItemFile, flaw: string): void => {
    unrepresentable.set(file.item.identifier, file);
    flaws.set(file.item.identifier, `the relpath ${JSON.stringify(file.item.relpath)} ${flaw}`);
  };
  for (const item of items) {
    const file = new ItemFile(family, item);
    bytes += item.size;
    files += 1;
    const parsed = parseRelpath(item.relpath);
    if ('flaw' in parsed) {
      displace(file, parsed.flaw);
      continue;
    }
    let branch = root;
    for (const component of parsed.directories) {
      const found = branch.get(component);
      if (found instanceof Map) {
        branch = found;
        continue;
      }
      if (found) displace(found, 'is also a directory of other items');
      const made: Branch = new Map();
      branch.set(component, made);
      branch = made;
    }
    const taken = branch.get(parsed.name);
    if (taken)
      displace(
        file,
        taken instanceof Map ? 'is also a directory of other items' : 'stands for another item, too',
      );
    else branch.set(parsed.name, file);
  }
  return { data: entriesOf(owner, root, ''), unrepresentable, flaws, bytes, files };
}

/** @param path of the branch below the data directory, with a slash before every component */
function entriesOf(owner: ItemOwner, branch: Branch, path: string): Entries {
  const entries = new Map<string, Node>();
  for (const [name, child] of branch) {
    entries.set(name, child instanceof Map ? directoryOf(owner, child, `${path}/${name}`) : child);
  }
  return entries;
}

function directoryOf(owner: ItemOwner, branch: Branch, path: string): Directory {
  const ino = inodeNumber('data', owner.uuid, path);
  const attributes = readOnlyAttributes('directory', owner.ownership, ino, 0, owner.time);
  return new Directory(attributes, owner.lifetime, [entriesOf(owner, branch, path)]);
}
