import { type FaultSchedule, type NetworkFault, passingFaults } from '../support/faulty-proxy.ts';

/**
 * Faults at random for a share of the requests, itself random. None that a mount can't tell from what a store may say of
 * itself: a wrong byte in the first part of a large item, or that an object is missing which is not.
 */
export function networkFaults(random: () => number): FaultSchedule {
  const upTo = (count: number): number => Math.floor(random() * count);
  const share = random();
  const faults: readonly ((method: string) => NetworkFault | undefined)[] = [
    ...passingFaults(upTo, 200),
    (method) => (method === 'GET' ? { kind: 'wrong-range' } : undefined),
    // Each costs the time of a silence.
    () => (random() < 0.02 ? { kind: 'stall', ...(random() < 0.5 && { bytes: upTo(1000) }) } : undefined),
  ];
  return (method) => (random() < share ? faults[upTo(faults.length)]?.(method) : undefined);
}
