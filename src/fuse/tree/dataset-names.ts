import { type FileName, isFileName, safeFileName } from '../../file-name.ts';

/** What decides which name a dataset gets. */
export interface NamedDataset {
  readonly uuid: string;
  /** As its creator chose it. */
  readonly name: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
}

/** The writable place, which no dataset is called. */
export const STAGING = 'staging';
const RESERVED: ReadonlySet<string> = new Set([STAGING]);
const SHORT_UUID_DIGITS = 8;

/**
 * The directory names of the datasets of a bucket. Of several with one name the oldest (by creation, then by uuid)
 * has it plain, each later one with `~` and the first 8 hex digits of its uuid; so has one whose name is no file name,
 * starts with a dot, has a `~` or is reserved, after its name is made safe. Which name a dataset gets depends on nothing but the
 * datasets given, whatever their order.
 */
export function assignNames<T extends NamedDataset>(datasets: readonly T[]): Map<FileName, T> {
  const names = new Map<FileName, T>();
  const suffixed: T[] = [];
  for (const dataset of datasets.toSorted(byAge)) {
    const { name } = dataset;
    if (isFileName(name) && !/^\.|~/.test(name) && !RESERVED.has(name) && !names.has(name)) {
      names.set(name, dataset);
    } else {
      suffixed.push(dataset);
    }
  }
  for (const dataset of suffixed) names.set(suffixedName(dataset, names), dataset);
  return names;
}

/** The directory names of datasets that are not frozen: each with `~` and the first 8 hex digits of its uuid. */
export function assignProtoNames<T extends NamedDataset>(datasets: readonly T[]): Map<FileName, T> {
  const names = new Map<FileName, T>();
  for (const dataset of datasets.toSorted(byAge)) names.set(suffixedName(dataset, names), dataset);
  return names;
}

/** A name with `~` and enough digits of the uuid to be none of those that are taken. */
function suffixedName(dataset: NamedDataset, taken: ReadonlyMap<string, unknown>): FileName {
  const suffixed = (suffix: string): FileName => safeFileName(dataset.name, suffix);
  const short = suffixed(`~${dataset.uuid.slice(0, SHORT_UUID_DIGITS)}`);
  return taken.has(short) ? suffixed(`~${dataset.uuid}`) : short;
}

function byAge(a: NamedDataset, b: NamedDataset): number {
  return a.createdAt - b.createdAt || (a.uuid < b.uuid ? -1 : Number(a.uuid > b.uuid));
}
