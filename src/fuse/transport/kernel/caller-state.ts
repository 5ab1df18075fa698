import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';

/**
 * A caller that a signal has reached while it waits for us. `leaving`: it dies, or it has a handler for a signal that asks
 * to leave. `staying`: nothing asks it to leave. `unknown`: the mount can't see it.
 */
export type CallerState = 'leaving' | 'staying' | 'unknown';

type Signals = bigint;
const NONE: Signals = 0n;

/** A program that has a handler for one of these expects that it ends the call, for example Ctrl-C in Python. */
const ASKING_TO_LEAVE = signalSet('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT');
/** Without a handler these do not end a process; source: signal(7). */
const NOT_ENDING = signalSet(
  'SIGCHLD',
  'SIGCONT',
  'SIGURG',
  'SIGWINCH',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
);
/** The state of a thread that the kernel lets wait for our answer after it has sent INTERRUPT. */
const WAITING = 'D';

/**
 * Looks at a thread that waits for us. No error: a thread that can't be looked at is `unknown`.
 *
 * @param threadId as the header of its request has it: 0 for a thread of a pid namespace that the mount can't see into
 */
export async function callerState(threadId: number): Promise<CallerState> {
  if (threadId === 0) return 'unknown';
  let status: string;
  try {
    status = await readFile(`/proc/${threadId}/status`, 'utf8');
  } catch {
    // The thread exists as long as it waits, so /proc hides it: option hidepid, or another pid namespace.
    return 'unknown';
  }
  return stateOf(status);
}

/** @param status a file /proc/TID/status; its format is in proc_pid_status(5) */
export function stateOf(status: string): CallerState {
  const [ignored, blocked, caught] = [
    maskOf(status, 'SigIgn'),
    maskOf(status, 'SigBlk'),
    maskOf(status, 'SigCgt'),
  ];
  // A signal stays pending until its handler runs, which is not before the call has returned.
  const pending = maskOf(status, 'SigPnd') | maskOf(status, 'ShdPnd');
  const coming = pending & ~blocked & ~ignored;
  if ((coming & ~caught & ~NOT_ENDING) !== NONE || (coming & caught & ASKING_TO_LEAVE) !== NONE)
    return 'leaving';
  // Another thread that has this number in the pid namespace of our /proc hardly waits like this.
  return /^State:\s*(\w)/m.exec(status)?.[1] === WAITING ? 'staying' : 'unknown';
}

function maskOf(status: string, field: string): Signals {
  const [, digits] = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status) ?? [];
  return digits === undefined ? NONE : BigInt(`0x${digits}`);
}

function signalSet(...names: readonly NodeJS.Signals[]): Signals {
  return names.reduce((set, name) => set | (1n << BigInt(constants.signals[name] - 1)), NONE);
}
