import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { callerState, stateOf } from '../../../../src/fuse/transport/kernel/caller-state.ts';

type Signal = NodeJS.Signals;
type Field = 'SigPnd' | 'ShdPnd' | 'SigBlk' | 'SigIgn' | 'SigCgt';

/** A file /proc/TID/status of a thread that waits, with these signals in its masks. */
function status(masks: Partial<Record<Field, readonly Signal[]>>, state = 'D (disk sleep)'): string {
  const mask = (field: Field): string => {
    const set = (masks[field] ?? []).reduce(
      (sum, name) => sum | (1n << BigInt(constants.signals[name] - 1)),
      0n,
    );
    return `${field}:\t${set.toString(16).padStart(16, '0')}`;
  };
  const fields: readonly Field[] = ['SigPnd', 'ShdPnd', 'SigBlk', 'SigIgn', 'SigCgt'];
  return [
    `Name:\tSigPnd: 4`,
    `State:\t${state}`,
    'SigQ:\t1/7',
    ...fields.map(mask),
    'NoNewPrivs:\t0',
    '',
  ].join('\n');
}

describe('a caller is leaving', () => {
  test.each<[string, Partial<Record<Field, readonly Signal[]>>]>([
    ['when it is killed', { SigPnd: ['SIGKILL'] }],
    ['when its process is killed', { ShdPnd: ['SIGKILL'], SigCgt: ['SIGCHLD'] }],
    ['by a signal that ends it', { ShdPnd: ['SIGUSR1'] }],
    ['by the end of a timer that it does not handle', { ShdPnd: ['SIGALRM'] }],
    ['by Ctrl-C that it handles', { ShdPnd: ['SIGINT'], SigCgt: ['SIGINT'] }],
    ['by SIGTERM that it handles', { SigPnd: ['SIGTERM'], SigCgt: ['SIGTERM'] }],
    ['by SIGHUP that it handles', { ShdPnd: ['SIGHUP', 'SIGALRM'], SigCgt: ['SIGHUP', 'SIGALRM'] }],
    ['by SIGQUIT that it handles', { ShdPnd: ['SIGQUIT'], SigCgt: ['SIGQUIT'] }],
  ])('%s', (_, masks) => {
    expect(stateOf(status(masks))).toBe('leaving');
    expect(stateOf(status(masks, 'R (running)'))).toBe('leaving');
  });
});

describe('a caller stays', () => {
  test.each<[string, Partial<Record<Field, readonly Signal[]>>]>([
    ['when no signal is pending, as after a debugger or the freezer', {}],
    ['when a timer ends that it handles', { ShdPnd: ['SIGALRM'], SigCgt: ['SIGALRM'] }],
    ['when a child ends, whether it handles that or not', { ShdPnd: ['SIGCHLD'] }],
    ['when it is to stop or go on', { ShdPnd: ['SIGTSTP', 'SIGSTOP', 'SIGCONT', 'SIGTTIN', 'SIGTTOU'] }],
    ['when its window changes', { ShdPnd: ['SIGWINCH', 'SIGURG'] }],
    ['when it blocks the signal', { ShdPnd: ['SIGINT', 'SIGUSR1'], SigBlk: ['SIGINT', 'SIGUSR1'] }],
    ['when it ignores the signal', { SigPnd: ['SIGINT', 'SIGHUP'], SigIgn: ['SIGINT', 'SIGHUP'] }],
  ])('%s', (_, masks) => {
    expect(stateOf(status(masks))).toBe('staying');
  });
});

test('a caller is unknown that does not wait, has no number here, or can not be looked at', async () => {
  expect(stateOf(status({}, 'S (sleeping)'))).toBe('unknown');
  expect(stateOf('')).toBe('unknown');
  expect(await callerState(0)).toBe('unknown');
  expect(await callerState(2 ** 31 - 1)).toBe('unknown');
});

test('signals from 32 on are read like the others', () => {
  const real = status({}).replace(/ShdPnd:.*/, 'ShdPnd:\t8000000000000000');
  expect(stateOf(real)).toBe('leaving');
  expect(stateOf(real.replace(/SigCgt:.*/, 'SigCgt:\t8000000000000000'))).toBe('staying');
});

test.skipIf(process.platform !== 'linux')('a real thread is looked at through /proc', async () => {
  const child = spawn('sh', ['-c', 'trap "" USR1; kill -STOP $$'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  try {
    await expect.poll(async () => readFile(`/proc/${child.pid}/status`, 'utf8')).toContain('T (stopped)');
    // A stopped process takes no signal: it stays pending.
    child.kill('SIGUSR1');
    expect(await callerState(child.pid ?? 0)).toBe('unknown');
    child.kill('SIGTERM');
    await expect.poll(async () => callerState(child.pid ?? 0)).toBe('leaving');
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
});
