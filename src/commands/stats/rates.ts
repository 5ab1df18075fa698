import {
  type LatencyCounts,
  latenciesSince,
  latencyQuantileMs,
  sumOfLatencies,
} from '../../latency-histogram.ts';
import type { MountStatus } from '../../mount.ts';

/** How many there were of something, and how long they took. */
export interface RequestRates {
  readonly requestsPerSecond: number;
  /** Times within which half of them and 99 % of them ended, in milliseconds; absent where none ended. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

/** What went to the store. */
export interface StoreRates extends RequestRates {
  readonly errorsPerSecond: number;
  readonly retriesPerSecond: number;
  readonly bytesReadPerSecond: number;
  readonly bytesWrittenPerSecond: number;
}

/** What a layer of the cache gave. */
export interface LayerRates {
  readonly blocksPerSecond: number;
  readonly bytesPerSecond: number;
  /** Of the blocks that were looked for in this layer, the part that was there, from 0 to 1; absent where none was. */
  readonly hitRatio?: number;
}

/** What a mount did between two looks at it, for people and as JSON: fields are only ever added. */
export interface MountRates {
  readonly mountpoint: string;
  /** When it was looked at, ISO 8601. */
  readonly time: string;
  /** The time between the looks. */
  readonly seconds: number;
  readonly kernel: RequestRates;
  /** By kind of request, of which there was one; see `RequestCounts`. */
  readonly kernelRequests: Readonly<Record<string, RequestRates>>;
  readonly store: StoreRates;
  /** By bucket and kind of request, of which there was one. */
  readonly storeRequests: readonly (StoreRates & { readonly bucket: string; readonly operation: string })[];
  /** Bytes in memory are what reads took, those of disk and store what came from there for reads and ahead of them. */
  readonly memory: LayerRates;
  /** Absent without a disk cache. */
  readonly disk?: LayerRates;
  readonly fetched: LayerRates;
  readonly readAhead: {
    readonly fetchedBytesPerSecond: number;
    readonly usedBytesPerSecond: number;
    readonly wastedBytesPerSecond: number;
  };
  /** As it is now. */
  readonly queue: MountStatus['queue'];
  readonly openHandles: number;
}

/** A mount as it was at a time: of the wall clock, and in milliseconds of one that never steps. */
export interface Look {
  readonly status: MountStatus;
  readonly time: Date;
  readonly atMs: number;
}

/** Whether two looks were at one process; else nothing lies between them. */
export function isSameMount(one: Look, other: Look): boolean {
  return one.status.pid === other.status.pid && one.status.startedAt === other.status.startedAt;
}

/** What a mount did from one look at it to a later one. */
export function ratesBetween(earlier: Look, later: Look): MountRates {
  const [before, after] = [earlier.status, later.status];
  const seconds = (later.atMs - earlier.atMs) / 1000;
  const perSecond = (was: number | undefined, is: number | undefined): number =>
    ((is ?? 0) - (was ?? 0)) / seconds;
  const requests = (latency: LatencyCounts, count = latency.count): RequestRates => {
    const [p50Ms, p99Ms] = [latencyQuantileMs(latency, 0.5), latencyQuantileMs(latency, 0.99)];
    return {
      requestsPerSecond: count / seconds,
      ...(p50Ms !== undefined && { p50Ms }),
      ...(p99Ms !== undefined && { p99Ms }),
    };
  };

  const kernel = Object.entries(after.kernel)
    .map(([kind, latency]) => [kind, latenciesSince(before.kernel[kind], latency)] as const)
    .filter(([, { count }]) => count > 0);

  const operations = after.store.operations.map((is) => {
    const was = before.store.operations.find(
      ({ bucket, operation }) => bucket === is.bucket && operation === is.operation,
    );
    return { was, is, latency: latenciesSince(was?.latency, is.latency) };
  });
  type Counts = Pick<MountStatus['store'], 'errors' | 'retries' | 'bytesRead' | 'bytesWritten'>;
  const store = (was: Counts | undefined, is: Counts, rates: RequestRates): StoreRates => ({
    ...rates,
    errorsPerSecond: perSecond(total(was?.errors), total(is.errors)),
    retriesPerSecond: perSecond(was?.retries, is.retries),
    bytesReadPerSecond: perSecond(was?.bytesRead, is.bytesRead),
    bytesWrittenPerSecond: perSecond(was?.bytesWritten, is.bytesWritten),
  });

  const layer = (blocks: Hits, bytes: number): LayerRates => ({
    blocksPerSecond: blocks.hits / seconds,
    bytesPerSecond: bytes / seconds,
    ...(blocks.hits + blocks.misses > 0 && { hitRatio: blocks.hits / (blocks.hits + blocks.misses) }),
  });
  const [was, is] = [before.cache, after.cache];
  const { readAhead: ahead } = is;
  return {
    mountpoint: after.mountpoint,
    time: later.time.toISOString(),
    seconds,
    kernel: requests(sumOfLatencies(kernel.map(([, latency]) => latency))),
    kernelRequests: Object.fromEntries(kernel.map(([kind, latency]) => [kind, requests(latency)])),
    store: store(
      before.store,
      after.store,
      requests(
        sumOfLatencies(operations.map(({ latency }) => latency)),
        total(after.store.requests) - total(before.store.requests),
      ),
    ),
    storeRequests: operations
      .map((each) => ({ ...each, count: each.is.requests - (each.was?.requests ?? 0) }))
      .filter(({ count }) => count > 0)
      .map(({ was: then, is: now, latency, count }) => ({
        bucket: now.bucket,
        operation: now.operation,
        ...store(then, now, requests(latency, count)),
      })),
    memory: layer(hitsSince(was, is), is.hitBytes - was.hitBytes),
    ...(was.disk &&
      is.disk && { disk: layer(hitsSince(was.disk, is.disk), is.disk.hitBytes - was.disk.hitBytes) }),
    fetched: {
      blocksPerSecond: perSecond(was.fetchedBlocks, is.fetchedBlocks),
      bytesPerSecond: perSecond(was.fetchedBytes, is.fetchedBytes),
    },
    readAhead: {
      fetchedBytesPerSecond: perSecond(was.readAhead.fetchedBytes, ahead.fetchedBytes),
      usedBytesPerSecond: perSecond(was.readAhead.usedBytes, ahead.usedBytes),
      wastedBytesPerSecond: perSecond(was.readAhead.wastedBytes, ahead.wastedBytes),
    },
    queue: after.queue,
    openHandles: after.openHandles,
  };
}

interface Hits {
  readonly hits: number;
  readonly misses: number;
}

function hitsSince(was: Hits, is: Hits): Hits {
  return { hits: is.hits - was.hits, misses: is.misses - was.misses };
}

function total(counts: Readonly<Partial<Record<string, number>>> = {}): number {
  return Object.values(counts).reduce<number>((sum, count = 0) => sum + count, 0);
}
