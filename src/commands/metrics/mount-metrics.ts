import { LATENCY_BOUNDS_MS, type LatencyCounts } from '../../latency-histogram.ts';
import type { MountStatus } from '../../mount.ts';
import type { Labels, Metric, Sample } from './exposition.ts';

/** What a process takes. */
export interface ProcessUse {
  readonly residentBytes: number;
  readonly cpuSeconds: number;
}

const PREFIX = 'dtool_ecs_mount_';

/** The numbers of a mount for Prometheus. Names are only ever added. */
export function metricsOf(status: MountStatus, use: ProcessUse): readonly Metric[] {
  const { mountpoint, version, transport, cache, store, kernel, queue } = status;
  const { disk, readAhead } = cache;
  const operations = store.operations.map(({ bucket, operation, ...counts }) => ({
    labels: { bucket, operation },
    ...counts,
  }));
  return [
    gauge('info', 'What is mounted where.', [{ labels: { mountpoint, version, transport }, value: 1 }]),
    gauge('open_handles', 'Files and directories that are open.', status.openHandles),
    gauge('problems', 'Problems of buckets and datasets that status tells of.', status.problems.length),

    histogram(
      'kernel_request_duration_seconds',
      'Requests of the kernel, from receiving one to its reply.',
      Object.entries(kernel).map(([operation, latency]) => ({ labels: { operation }, latency })),
    ),

    counter(
      'store_requests_total',
      'Requests to the store, repetitions included, whatever came of them.',
      operations.map(({ labels, requests: value }) => ({ labels, value })),
    ),
    counter(
      'store_errors_total',
      'Requests to the store that failed, by reason.',
      operations.flatMap(({ labels, errors }) =>
        Object.entries(errors).map(([reason, value]) => ({ labels: { ...labels, reason }, value })),
      ),
    ),
    counter(
      'store_abandoned_total',
      'Requests to the store that whoever wanted them gave up.',
      operations.map(({ labels, abandoned: value }) => ({ labels, value })),
    ),
    counter(
      'store_retries_total',
      'Requests to the store that were repeats of failed ones.',
      operations.map(({ labels, retries: value }) => ({ labels, value })),
    ),
    counter(
      'store_read_bytes_total',
      'Content of objects that arrived whole.',
      operations.map(({ labels, bytesRead: value }) => ({ labels, value })),
    ),
    counter(
      'store_written_bytes_total',
      'Content of objects that was stored.',
      operations.map(({ labels, bytesWritten: value }) => ({ labels, value })),
    ),
    histogram(
      'store_request_duration_seconds',
      'Requests to the store that were not given up, from sending one to its whole answer.',
      operations,
    ),
    gauge('store_requests_running', 'Requests to the store that are under way.', queue.running),
    gauge(
      'store_requests_waiting',
      'Requests to the store that wait for their turn.',
      Object.entries(queue.waiting).map(([priority, value]) => ({ labels: { priority }, value })),
    ),

    counter(
      'cache_hits_total',
      'Blocks that were found in a layer: by reads in memory, for reads and ahead of them on disk.',
      layers(cache.hits, disk?.hits),
    ),
    counter(
      'cache_misses_total',
      'Blocks that were looked for in a layer in vain.',
      layers(cache.misses, disk?.misses),
    ),
    counter(
      'cache_bytes_total',
      'Bytes that came from a layer: what reads took in memory, whole blocks of disk and store.',
      layers(cache.hitBytes, disk?.hitBytes, cache.fetchedBytes),
    ),
    gauge('cache_used_bytes', 'What is in a layer.', layers(cache.bytes, disk?.bytes)),
    gauge('cache_limit_bytes', 'What a layer may take.', layers(cache.maxBytes, disk?.maxBytes)),
    counter(
      'cache_corrupt_blocks_total',
      'Blocks in a layer that were damaged and not served.',
      disk ? [{ labels: { layer: 'disk' }, value: disk.corruptBlocks }] : [],
    ),
    counter(
      'read_ahead_fetched_bytes_total',
      'Blocks that were fetched ahead of readers.',
      readAhead.fetchedBytes,
    ),
    counter(
      'read_ahead_used_bytes_total',
      'Blocks fetched ahead of which something was read.',
      readAhead.usedBytes,
    ),
    counter(
      'read_ahead_wasted_bytes_total',
      'Blocks fetched ahead that left memory unread.',
      readAhead.wastedBytes,
    ),

    // These have the names that they have everywhere.
    {
      name: 'process_start_time_seconds',
      help: 'When the mount began, in seconds since the epoch.',
      type: 'gauge',
      samples: samplesOf(Date.parse(status.startedAt) / 1000),
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Memory of the process that is in use.',
      type: 'gauge',
      samples: samplesOf(use.residentBytes),
    },
    {
      name: 'process_cpu_seconds_total',
      help: 'Processor time of the process.',
      type: 'counter',
      samples: samplesOf(use.cpuSeconds),
    },
  ];
}

function counter(name: string, help: string, samples: number | readonly Sample[]): Metric {
  return { name: PREFIX + name, help, type: 'counter', samples: samplesOf(samples) };
}

function gauge(name: string, help: string, samples: number | readonly Sample[]): Metric {
  return { name: PREFIX + name, help, type: 'gauge', samples: samplesOf(samples) };
}

/** A number for each layer of the cache that there is. */
function layers(memory: number, disk: number | undefined, store?: number): readonly Sample[] {
  return Object.entries({ memory, disk, store }).flatMap(([layer, value]) =>
    value === undefined ? [] : [{ labels: { layer }, value }],
  );
}

function samplesOf(samples: number | readonly Sample[]): readonly Sample[] {
  return typeof samples === 'number' ? [{ labels: {}, value: samples }] : samples;
}

function histogram(
  name: string,
  help: string,
  all: readonly { readonly labels: Labels; readonly latency: LatencyCounts }[],
): Metric {
  const samples = all.flatMap(({ labels, latency: { count, sumMs, counts } }) => {
    let below = 0;
    const buckets = LATENCY_BOUNDS_MS.map((boundMs, slot) => {
      below += counts[slot] ?? 0;
      return { suffix: '_bucket', labels: { ...labels, le: String(boundMs / 1000) }, value: below };
    });
    return [
      ...buckets,
      { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
      { suffix: '_sum', labels, value: sumMs / 1000 },
      { suffix: '_count', labels, value: count },
    ];
  });
  return { name: PREFIX + name, help, type: 'histogram', samples };
}
