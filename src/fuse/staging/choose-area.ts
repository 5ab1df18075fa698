import { type KnownArea, ownArea, readAreas } from './known-areas.ts';

export interface AreaChoice {
  readonly bucket: string;
  readonly endpoint: string;
  /** Takes every area of a bucket of this name for this bucket's. */
  readonly takeAll: boolean;
  /** Whether the bucket has a dataset; false where the store does not say. */
  readonly hasDataset: (uuid: string) => Promise<boolean>;
}

/**
 * Finds the staging area of a bucket. An area belongs to a store and not to one spelling of its endpoint (`localhost` and
 * `127.0.0.1`, https and http, another port or load balancer): the one that was used with this spelling comes first, and
 * where it has no folders, one with folders that is of the same store. That is so where the addresses mean the same, or
 * where the bucket has a dataset that the area remembers: uuids are drawn at random, so two stores share one only if one
 * is a copy of the other.
 *
 * @param directory of all areas
 * @returns the area, which may not be there yet, and all others of buckets of this name that have folders
 * @throws the file system's error
 */
export async function chooseArea(
  directory: string,
  { bucket, endpoint, takeAll, hasDataset }: AreaChoice,
): Promise<{ readonly area: KnownArea; readonly hidden: readonly KnownArea[] }> {
  const own = await ownArea(directory, bucket, endpoint);
  const others = (await readAreas(directory)).filter(
    (other) => other.bucket === bucket && other.path !== own.path && other.folders.length > 0,
  );
  if (own.folders.length > 0) return { area: own, hidden: others };
  for (const other of others) {
    const isOurs =
      takeAll ||
      other.endpoints.some((known) => addressOf(known) === addressOf(endpoint)) ||
      (await hasAny(other.datasets, hasDataset));
    if (isOurs) return { area: other, hidden: others.filter((one) => one !== other) };
  }
  return { area: own, hidden: others };
}

async function hasAny(
  uuids: readonly string[],
  hasDataset: (uuid: string) => Promise<boolean>,
): Promise<boolean> {
  for (const uuid of uuids) if (await hasDataset(uuid)) return true;
  return false;
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/;

/** Where an endpoint leads, in one spelling: names of this computer are one, and http on a port is https on it. */
function addressOf(endpoint: string): string {
  const { protocol, hostname, port, pathname } = new URL(endpoint);
  const host = LOOPBACK.test(hostname) ? 'localhost' : hostname.replace(/\.$/, '');
  return `${host}:${port || (protocol === 'https:' ? 443 : 80)}${pathname.replace(/\/+$/, '')}`;
}
