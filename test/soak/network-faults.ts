import type { FaultSchedule, NetworkFault } from '../support/faulty-proxy.ts';

/**
 * Faults at random for a share of the requests, itself random. None that a mount can't tell from what a store may say of
 * itself: a wrong byte in the first part of a large item, or that an object is missing which is not.
 */
export function networkFaults(random: () => number): FaultSchedule {
  const upTo = (count: number): number => Math.floor(random() * count);
  const share = random();
  const faults: readonly ((method: string) => NetworkFault | undefined)[] = [
    () => ({ kind: 'delay', ms: upTo(200) }),
    () => ({ kind: 'reset' }),
    () => ({ kind: 'lost-answer' }),
    () => ({ kind: 'truncate', bytes: upTo(100_000) }),
    () => ({ kind: 'status', status: 500, code: 'InternalError' }),
    () => ({ kind: 'status', status: 503, code: 'SlowDown' }),
    () => ({ kind: 'status', status: 429, code: 'TooManyRequests' }),
    (method) => (method === 'GET' ? { kind: 'wrong-range' } : undefined),
    // Each costs the time of a silence.
    () => (random() < 0.02 ? { kind: 'stall', ...(random() < 0.5 && { bytes: upTo(1000) }) } : undefined),
  ];
  return (method) => (random() < share ? faults[upTo(faults.length)]?.(method) : undefined);
}
