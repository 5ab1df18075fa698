import { Presets, SingleBar } from 'cli-progress';
import type { Clock } from '../clock.ts';
import type { FreezeProgress } from '../freeze/progress.ts';
import { standardError } from './output.ts';
import { formatBytes } from './terminal.ts';

/** How far something is that goes through items and their bytes. */
export interface Progress extends Pick<FreezeProgress, 'items' | 'totalItems' | 'bytes' | 'totalBytes'> {
  readonly phase: FreezeProgress['phase'] | 'fetching' | 'verifying';
}

/** Shows how far a command is, on standard error. */
export interface ProgressDisplay {
  readonly update: (progress: Progress) => void;
  /** Leaves the last state where it is. May be called again. */
  readonly end: () => void;
}

/** A bar on a terminal, else a line for every tenth. */
export function showProgress(clock: Clock): ProgressDisplay {
  return process.stderr.isTTY ? progressBar(clock) : progressLines();
}

const VERBS: Readonly<Record<Progress['phase'], string>> = {
  checking: 'Checking',
  uploading: 'Uploading',
  committing: 'Committing',
  fetching: 'Fetching',
  verifying: 'Verifying',
};

/** The rate is the mean since the phase is watched. */
function progressBar(clock: Clock): ProgressDisplay {
  // A terminal that has gone is no reason to end.
  process.stderr.on('error', () => {});
  let bar: SingleBar | undefined;
  let phase: Progress['phase'] | undefined;
  let startedAt = 0;
  let bytesBefore = 0;
  const end = (): void => {
    bar?.stop();
    bar = undefined;
  };
  const update = (progress: Progress): void => {
    const { bytes, totalBytes, items, totalItems } = progress;
    const shown = shownPhase(progress);
    const seconds = (clock.monotonic() - startedAt) / 1000;
    const payload = {
      verb: VERBS[progress.phase],
      sent: `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
      items: `${items.toLocaleString('en')} of ${totalItems.toLocaleString('en')} items`,
      rate: `${formatBytes(Math.round(seconds > 0 && phase === shown ? (bytes - bytesBefore) / seconds : 0))}/s`,
    };
    if (bar === undefined || phase !== shown) {
      end();
      phase = shown;
      startedAt = clock.monotonic();
      bytesBefore = bytes;
      bar = new SingleBar(
        {
          format: '{verb} {bar} {percentage}% | {sent} | {items} | {rate} | ETA {eta_formatted}',
          stream: process.stderr,
          hideCursor: true,
          gracefulExit: false,
          etaBuffer: 100,
        },
        Presets.shades_classic,
      );
      bar.start(workOf(progress).total, workOf(progress).done, payload);
    } else {
      bar.update(workOf(progress).done, payload);
    }
  };
  return { update, end };
}

function progressLines(): ProgressDisplay {
  let told = '';
  const update = (progress: Progress): void => {
    const { done, total } = workOf(progress);
    const tenth = total === 0 ? 10 : Math.floor((done / total) * 10);
    const phase = shownPhase(progress);
    const key = `${phase} ${tenth}`;
    if (tenth === 0 || key === told) return;
    told = key;
    const { bytes, totalBytes, items, totalItems } = progress;
    standardError.tell(
      `${VERBS[phase]}: ${tenth * 10}%, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}, ` +
        `${items} of ${totalItems} items\n`,
    );
  };
  return { update, end: () => {} };
}

/** Committing takes a moment: all that there is to tell of it is that everything is uploaded. */
function shownPhase({ phase }: Progress): Progress['phase'] {
  return phase === 'committing' ? 'uploading' : phase;
}

/** Bytes, with something for each item: many small files take their time, too. */
const ITEM_WORTH_BYTES = 64 * 1024;

function workOf({ items, totalItems, bytes, totalBytes }: Progress): {
  readonly done: number;
  readonly total: number;
} {
  return {
    done: bytes + items * ITEM_WORTH_BYTES,
    total: totalBytes + totalItems * ITEM_WORTH_BYTES,
  };
}
