import { type Column, formatBytes, formatLatency, formatTable, printable, styled } from '../terminal.ts';
import type { LayerRates, MountRates, RequestRates, StoreRates } from './rates.ts';

/** The rates of a mount in words; names in it that others chose can't do anything to a terminal. */

const STORE_COLUMNS: readonly Column[] = [
  { title: 'STORE' },
  ...['REQ/S', 'P50', 'P99', 'READ/S', 'WRITTEN/S', 'FAILED/S', 'REPEATED/S'].map(right),
];
const KERNEL_COLUMNS: readonly Column[] = [{ title: 'KERNEL' }, ...['REQ/S', 'P50', 'P99'].map(right)];
const CACHE_COLUMNS: readonly Column[] = [
  { title: 'FROM' },
  ...['BYTES/S', 'BLOCKS/S', 'FOUND THERE'].map(right),
];

/** All there is, as lines of text: the view of a terminal. */
export function describeRates(rates: MountRates): readonly string[] {
  const { mountpoint, time, seconds, queue, readAhead, openHandles } = rates;
  const waiting = Object.entries(queue.waiting).map(([priority, count]) => `${count} ${priority}`);
  return [
    `${styled('bold', printable(mountpoint))}  ${time.slice(0, 19).replace('T', ' ')} UTC, ${formatRate(seconds)} s`,
    '',
    ...formatTable(STORE_COLUMNS, [
      ['all', ...storeCells(rates.store)],
      ...rates.storeRequests
        .toSorted(byRate)
        .map((each) => [`${each.bucket} ${each.operation}`, ...storeCells(each)]),
    ]).split('\n'),
    `${queue.running} under way, waiting: ${waiting.join(', ')}`,
    '',
    ...formatTable(CACHE_COLUMNS, [
      ['memory', ...layerCells(rates.memory)],
      ...(rates.disk ? [['disk', ...layerCells(rates.disk)]] : []),
      ['store', ...layerCells(rates.fetched)],
    ]).split('\n'),
    `read-ahead: ${formatBytes(Math.round(readAhead.fetchedBytesPerSecond))}/s, ` +
      `read of it ${formatBytes(Math.round(readAhead.usedBytesPerSecond))}/s, ` +
      `wasted ${formatBytes(Math.round(readAhead.wastedBytesPerSecond))}/s`,
    '',
    ...formatTable(KERNEL_COLUMNS, [
      ['all', ...requestCells(rates.kernel)],
      ...Object.entries(rates.kernelRequests)
        .toSorted(([, one], [, other]) => byRate(one, other))
        .map(([kind, each]) => [kind, ...requestCells(each)]),
    ]).split('\n'),
    `${openHandles} files and directories open`,
  ];
}

/** The sums in one line. */
export function summarizeRates({ time, kernel, store, memory, disk, queue }: MountRates): string {
  const { read, metadata, background } = queue.waiting;
  const requests = ({ requestsPerSecond, p50Ms, p99Ms }: RequestRates): string =>
    `${formatRate(requestsPerSecond)}/s p50 ${formatLatency(p50Ms)} p99 ${formatLatency(p99Ms)}`;
  return [
    time.slice(11, 19),
    `kernel ${requests(kernel)}`,
    `store ${requests(store)} read ${formatBytes(Math.round(store.bytesReadPerSecond))}/s ` +
      `written ${formatBytes(Math.round(store.bytesWrittenPerSecond))}/s ` +
      `failed ${formatRate(store.errorsPerSecond)}/s`,
    `hits memory ${formatRatio(memory)}${disk ? ` disk ${formatRatio(disk)}` : ''}`,
    `queue ${queue.running}+${read + metadata + background}`,
  ].join('  ');
}

function right(title: string): Column {
  return { title, align: 'right' };
}

function byRate(one: RequestRates, other: RequestRates): number {
  return other.requestsPerSecond - one.requestsPerSecond;
}

function requestCells({ requestsPerSecond, p50Ms, p99Ms }: RequestRates): readonly string[] {
  return [formatRate(requestsPerSecond), formatLatency(p50Ms), formatLatency(p99Ms)];
}

function storeCells(rates: StoreRates): readonly string[] {
  return [
    ...requestCells(rates),
    formatBytes(Math.round(rates.bytesReadPerSecond)),
    formatBytes(Math.round(rates.bytesWrittenPerSecond)),
    formatRate(rates.errorsPerSecond),
    formatRate(rates.retriesPerSecond),
  ];
}

function layerCells(rates: LayerRates): readonly string[] {
  return [
    formatBytes(Math.round(rates.bytesPerSecond)),
    formatRate(rates.blocksPerSecond),
    formatRatio(rates),
  ];
}

function formatRatio({ hitRatio }: LayerRates): string {
  return hitRatio === undefined ? '-' : `${(100 * hitRatio).toFixed(1)} %`;
}

/** Such as `1203`, `12.3` or `0.25`: three digits count below a thousand. */
function formatRate(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : String(Number(rate.toPrecision(3)));
}
