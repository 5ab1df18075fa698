import { type Clock, systemClock } from '../clock.ts';
import { askMount } from '../control.ts';
import { UserError } from '../errors.ts';
import { canonicalMountpoint } from '../fuse/mountpoint.ts';
import type { MountStatus } from '../mount.ts';
import { type Look, type MountRates, isSameMount, ratesBetween } from './stats/rates.ts';
import { describeRates, summarizeRates } from './stats/view.ts';
import { standardError, standardOutput } from './output.ts';
import { print, printable } from './terminal.ts';

export interface StatsOptions {
  /** Seconds that each look covers. */
  readonly interval: number;
  readonly once: boolean;
  readonly json: boolean;
}

/**
 * Shows what a mount does until Ctrl-C, until nobody reads any more or until the mount is gone, which is said: redrawn in
 * place on a terminal, else a line for each interval.
 *
 * @throws UserError when no mount of this user answers there
 */
export async function statsCommand(mountpoint: string, options: StatsOptions): Promise<void> {
  const path = await canonicalMountpoint(mountpoint);
  const ending = new AbortController();
  const end = (): void => ending.abort();
  process.on('SIGINT', end);
  process.on('SIGTERM', end);
  standardOutput.failed.addEventListener('abort', end);
  const show = displayOf(options.json);
  try {
    await watch(path, options, systemClock, ending.signal, show);
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  }
}

async function watch(
  path: string,
  { interval, once }: StatsOptions,
  clock: Clock,
  signal: AbortSignal,
  show: (rates: MountRates) => void,
): Promise<void> {
  let last = await lookAt(path, clock, signal);
  if (!last) {
    throw new UserError(`no mount of yours answers at ${path}`, '"dtool-ecs-mount status" tells which do.');
  }
  for (;;) {
    await clock.sleep(interval * 1000, signal);
    // A reader that is slow gets fewer looks, which cover more time.
    if (standardOutput.isBehind) continue;
    const look = await lookAgain(path, clock, signal);
    if (!look) return standardError.write(`The mount at ${printable(path)} has ended.\n`);
    if (isSameMount(last, look)) {
      show(ratesBetween(last, look));
      if (once) return;
    } else {
      standardError.write(`${printable(path)} was mounted anew by process ${look.status.pid}.\n`);
    }
    last = look;
  }
}

async function lookAt(path: string, clock: Clock, signal: AbortSignal): Promise<Look | undefined> {
  const answer = await askMount(path, { command: 'status', signal });
  if (answer === undefined) return undefined;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a mount of ours answers with nothing else
  return { status: answer as MountStatus, time: new Date(clock.now()), atMs: clock.monotonic() };
}

/** A mount that ends may hang up in the middle of an answer; asked again, nobody listens. */
async function lookAgain(path: string, clock: Clock, signal: AbortSignal): Promise<Look | undefined> {
  try {
    return await lookAt(path, clock, signal);
  } catch {
    return await lookAt(path, clock, signal);
  }
}

const UP = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}A`);
const CLEAR_BELOW = '\r\u001b[J';
/** The terminal cuts what is wider than it is. */
const [NO_WRAP, WRAP] = ['\u001b[?7l', '\u001b[?7h'];

function displayOf(json: boolean): (rates: MountRates) => void {
  if (json) return (rates) => print(JSON.stringify(rates));
  const { stdout } = process;
  if (!stdout.isTTY) return (rates) => print(summarizeRates(rates));
  let drawn = 0;
  return (rates) => {
    // What has scrolled out of the terminal could not be drawn over.
    const lines = describeRates(rates).slice(0, Math.max(1, stdout.rows - 1));
    standardOutput.write(`${UP(drawn)}${CLEAR_BELOW}${NO_WRAP}${lines.join('\n')}\n${WRAP}`);
    drawn = lines.length;
  };
}
