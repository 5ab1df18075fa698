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
import { itemContent } from '../../cache/item-content.ts';
import { type ContentSource, openContent } from './files.ts';
import { ItemInodeNumbers, inodeNumber } from './inode-numbers.ts';
import type { FileName } from '../../file-name.ts';
import { parseRelpath } from '../../ecs/dtool/relpath.ts';

/** What a tree of items needs to know of an item, from the objects of a proto dataset. */
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
  /** Of the directories, which have no time of their own. */
  readonly time: Timestamp;
  readonly keyOf: (identifier: string) => string;
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
  /** The entries of every directory below the data directory. */
  readonly directories: ReadonlyMap<Node, Entries>;
}

class ItemFile implements FileNode {
  readonly kind = 'file';
  /** A file stands for one item as it is: another item has another file. */
  readonly lifetime: Lifetime = 'forever';
  readonly #family: Family;
  readonly item: TreeItem;

  constructor(family: Family, item: TreeItem) {
    this.#family = family;
    this.item = item;
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
    const { source, uuid } = owner;
    const dataset = { bucket: source.store.bucket, uuid };
    // The hash is only what the writer said.
    return openContent(source, itemContent(dataset, this.item, owner.keyOf(this.item.identifier), false));
  }
}

/** What all items of a dataset share. */
interface Family {
  readonly owner: ItemOwner;
  readonly inodeNumbers: ItemInodeNumbers;
}

/**
 * Puts items where their relpaths say. One whose relpath is no path, or whose place is taken (a name can't be a file
 * and a directory: the directory stays), is kept by its identifier instead; nothing is lost and nothing can get out
 * of the data directory.
 *
 * @param previous an earlier tree of the same dataset: nodes that stand for the same as then are taken over from it
 */
export function buildItemTree(owner: ItemOwner, items: Iterable<TreeItem>, previous?: ItemTree): ItemTree {
  const family: Family = { owner, inodeNumbers: new ItemInodeNumbers(owner.uuid) };
  const data: Branch = { entries: new Map(), before: previous?.data };
  const branches = new Map<Node, Branch>();
  const unrepresentable = new Map<string, Node>();
  const flaws = new Map<string, string>();
  let bytes = 0;
  let files = 0;

  const displace = (file: ItemFile, flaw: string): void => {
    const before = previous?.unrepresentable.get(file.item.identifier);
    unrepresentable.set(file.item.identifier, isSame(before, file.item) ? before : file);
    flaws.set(file.item.identifier, `the relpath ${JSON.stringify(file.item.relpath)} ${flaw}`);
  };
  const enter = ({ entries, before }: Branch, name: FileName, path: () => string): Branch => {
    const found = entries.get(name);
    const known = found && branches.get(found);
    if (known) return known;
    if (found instanceof ItemFile) displace(found, 'is also a directory of other items');
    const old = before?.get(name);
    const branch: Branch = { entries: new Map(), before: old && previous?.directories.get(old) };
    const directory = old instanceof Directory ? old : newDirectory(owner, path(), branch.entries);
    entries.set(name, directory);
    branches.set(directory, branch);
    return branch;
  };

  for (const item of items) {
    bytes += item.size;
    files += 1;
    const parsed = parseRelpath(item.relpath);
    if ('flaw' in parsed) {
      displace(new ItemFile(family, item), parsed.flaw);
      continue;
    }
    const { directories, name } = parsed;
    let branch = data;
    for (const [depth, directory] of directories.entries()) {
      branch = enter(branch, directory, () => directories.slice(0, depth + 1).join('/'));
    }
    const taken = branch.entries.get(name);
    if (taken) {
      const flaw =
        taken.kind === 'directory' ? 'is also a directory of other items' : 'stands for another item, too';
      displace(new ItemFile(family, item), flaw);
    } else {
      const before = branch.before?.get(name);
      branch.entries.set(name, isSame(before, item) ? before : new ItemFile(family, item));
    }
  }

  const directories = new Map<Node, Entries>();
  for (const [directory, { entries }] of branches) {
    directories.set(directory, entries);
    if (previous && directory instanceof Directory) directory.replace([entries]);
  }
  return { data: data.entries, unrepresentable, flaws, bytes, files, directories };
}

/** A directory while the items are put in their places. */
interface Branch {
  readonly entries: Map<FileName, Node>;
  /** What it held in the tree before this one. */
  readonly before: Entries | undefined;
}

function isSame(node: Node | undefined, item: TreeItem): node is ItemFile {
  if (!(node instanceof ItemFile)) return false;
  const { identifier, relpath, size, hash, timestamp } = node.item;
  return (
    identifier === item.identifier &&
    relpath === item.relpath &&
    size === item.size &&
    hash === item.hash &&
    timestamp === item.timestamp
  );
}

function newDirectory(owner: ItemOwner, path: string, entries: Entries): Directory {
  const ino = inodeNumber('data', owner.uuid, `/${path}`);
  const attributes = readOnlyAttributes('directory', owner.ownership, ino, 0, owner.time);
  return new Directory(attributes, 'refresh', [entries]);
}
