import { readFileSync } from 'node:fs';

/** Of a process, in MiB (proc(5)). */
export interface ProcessMemory {
  /** VmRSS. */
  readonly nowMiB: number;
  /** VmHWM: the most that it ever had. */
  readonly peakMiB: number;
}

/** @returns zeros for a process that has ended */
export function memoryOf(pid: number): ProcessMemory {
  const status = statusOf(pid);
  const of = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1_024;
  return { nowMiB: of('VmRSS'), peakMiB: of('VmHWM') };
}

/** The most of both, of each figure. */
export function mostOf(one: ProcessMemory, other: ProcessMemory | undefined): ProcessMemory {
  return {
    nowMiB: Math.max(one.nowMiB, other?.nowMiB ?? 0),
    peakMiB: Math.max(one.peakMiB, other?.peakMiB ?? 0),
  };
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}
