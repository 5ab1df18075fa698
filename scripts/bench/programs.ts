import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { Figure } from './row.ts';

const execute = promisify(execFile);
/** Who takes longer is ended, unless more is said: that it is so slow is all that a ratio needs. */
const LONGEST_SECONDS = 60;
const NUMBERS = z.record(z.string(), z.number());

/** Runs a command in a session of its own, so that it is ended with all that it started. */
const TIMED = `
import json, os, resource, signal, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, start_new_session=True)
ended = 0
try:
    child.wait(float(sys.argv[1]))
except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    ended = 1
seconds = time.perf_counter() - start
if child.returncode and not ended:
    sys.exit(f'{sys.argv[2:]}: exit code {child.returncode}')
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({'seconds': seconds, 'ended': ended, 'peakMiB': peak}))
`;

/** What a program took. */
export interface Run {
  readonly seconds: Figure;
  /** The most memory that one of its processes had. */
  readonly peakMiB: number;
}

export interface TimedOptions {
  readonly env: NodeJS.ProcessEnv;
  /** After which it is ended; default: {@link LONGEST_SECONDS}. */
  readonly longestSeconds?: number | undefined;
}

/**
 * Runs a program to its end, or for so long.
 *
 * @throws Error when its exit code is another than 0
 */
export async function timed(
  { env, longestSeconds = LONGEST_SECONDS }: TimedOptions,
  command: string,
  ...args: readonly string[]
): Promise<Run> {
  const limited = [String(longestSeconds), command, ...args];
  const { seconds = 0, ended, peakMiB = 0 } = await numbersOf(env, 'python3', '-c', TIMED, ...limited);
  return { seconds: ended === 0 ? seconds : { over: seconds }, peakMiB };
}

/** Runs a program that prints a JSON object of numbers. */
export async function numbersOf(
  env: NodeJS.ProcessEnv,
  command: string,
  ...args: readonly string[]
): Promise<Record<string, number>> {
  const { stdout } = await execute(command, args, { env });
  return NUMBERS.parse(JSON.parse(stdout));
}
