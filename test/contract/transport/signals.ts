import * as fs from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scaled } from '../../support/full.ts';
import { run } from '../../support/test-mounts.ts';
import { has, type Place, sh } from './place.ts';

/** Some ten calls in each round: 10,000 where staging is as users have it. */
const CHANGE_ROUNDS = scaled({ usual: 1_000, full: 20_000 });
const FEWER_CHANGE_ROUNDS = CHANGE_ROUNDS / 10;
/** Each of some nine calls waits for some milliseconds. */
const LOOK_ROUNDS = scaled({ usual: 20, full: 1_000 });
const NO_CC = has('cc') ? '' : ' [skipped: no C compiler]';
const NO_PYTHON = has('python3') ? '' : ' [skipped: no python3]';
const GLOBS = scaled({ usual: 100, full: 800 });

const PYTHON = `
import os, signal, sys
kind, directory, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
signals = 0
def count(*_):
    global signals
    signals += 1
signal.signal(signal.SIGALRM, count)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
def attempt(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        print(call.__name__, error)
def change(number):
    path, other = f'{directory}/made-{number}', f'{directory}/renamed-{number}'
    with open(path, 'wb') as file:
        file.write(b'some')
    attempt(os.rename, path, other)
    attempt(os.stat, other)
    if f'renamed-{number}' not in (attempt(os.listdir, directory) or []): print('not listed')
    attempt(os.unlink, other)
def look(number):
    path = f'{directory}/file-{number % 10}'
    attempt(os.stat, path)
    if attempt(lambda: open(path, 'rb').read()) != b'some': print('not read')
    if len(attempt(os.listdir, directory) or []) != 10: print('not listed')
for number in range(rounds):
    (change if kind == 'changes' else look)(number)
signal.setitimer(signal.ITIMER_REAL, 0)
print('some signals' if signals else 'no signals')
`;

/** Signals that ask nobody to leave, such as those of timers and of children that end. */
export function describeSignals(place: Place): void {
  const { at, contract } = place;
  const isUsual =
    contract.tree === 'staging' && contract.transport === 'kernel' && contract.slowDisk !== true;
  const slow = () => join(place.readOnly.path, 'slow');

  describe('harmless signals', { timeout: scaled({ usual: 60_000, full: 900_000 }) }, () => {
    let directory: string;
    let program: string;
    beforeAll(async () => {
      directory = await fs.mkdtemp(join(tmpdir(), 'transport-signals-'));
      program = join(directory, 'calls-under-timer');
      if (NO_CC === '')
        await run('cc', ['-O1', '-o', program, resolve(import.meta.dirname, 'calls-under-timer.c')]);
    });
    afterAll(() => fs.rm(directory, { recursive: true }));

    const calls = async (
      what: 'changes' | 'reads',
      where: string,
      rounds: number,
      signal: NodeJS.Signals,
    ) => {
      const number = String(constants.signals[signal]);
      const { stdout } = await run(program, [what, where, String(rounds), number]);
      expect(stdout).toMatch(/^\d+ calls, some signals\n$/);
    };

    test.skipIf(NO_CC !== '')(`fail no call of a program in C that changes files${NO_CC}`, async () => {
      await calls('changes', place.root, isUsual ? CHANGE_ROUNDS : FEWER_CHANGE_ROUNDS, 'SIGALRM');
    });

    test.skipIf(NO_CC !== '')(`fail no call of a program in C that waits for files${NO_CC}`, async () => {
      await calls('reads', slow(), LOOK_ROUNDS, 'SIGALRM');
    });

    test('leave a file there that takes long to be found, though a child ends meanwhile', async () => {
      const script = 'sleep 0.1 & test -e slow/late && wait && echo there';
      expect(await sh(script, place.readOnly.path)).toBe('there\n');
    });

    if (!isUsual) return;

    test.skipIf(NO_CC !== '')(`fail no call of several programs at once${NO_CC}`, async () => {
      await fs.mkdir(at('other'));
      await Promise.all([
        calls('changes', place.root, FEWER_CHANGE_ROUNDS, 'SIGALRM'),
        calls('changes', at('other'), FEWER_CHANGE_ROUNDS, 'SIGUSR1'),
        calls('reads', slow(), LOOK_ROUNDS, 'SIGALRM'),
        calls('reads', slow(), LOOK_ROUNDS, 'SIGCHLD'),
      ]);
    });

    test.skipIf(NO_CC !== '')(`on staged files are any that a program handles${NO_CC}`, async () => {
      await calls('changes', place.root, FEWER_CHANGE_ROUNDS, 'SIGINT');
      await calls('changes', place.root, FEWER_CHANGE_ROUNDS, 'SIGTERM');
    });

    test.skipIf(NO_PYTHON !== '')(`fail no call of a Python program${NO_PYTHON}`, async () => {
      const changing = await run('python3', [
        '-c',
        PYTHON,
        'changes',
        place.root,
        String(FEWER_CHANGE_ROUNDS),
      ]);
      const looking = await run('python3', ['-c', PYTHON, 'reads', slow(), String(LOOK_ROUNDS)]);
      expect([changing.stdout, looking.stdout]).toEqual(['some signals\n', 'some signals\n']);
    });

    test('leave globs in bash whole while children end', async () => {
      await sh('mkdir many && cd many && for i in $(seq 20); do echo > $i; done', place.root);
      const script = (pattern: string, count: number, times: number) =>
        `for i in $(seq ${times}); do (:) & (:) & f=(${pattern}); [ \${#f[@]} = ${count} ] || echo \${#f[@]}; done; wait`;
      expect(await sh(script('*/*', 20, GLOBS), place.root)).toBe('');
      expect(await sh(script('slow/f*', 10, GLOBS / 4), place.readOnly.path)).toBe('');
    });
  });
}
