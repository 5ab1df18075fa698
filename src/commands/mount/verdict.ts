import type { ChildProcess } from 'node:child_process';

/** A mount that answers. */
export interface Ready {
  /** What the user should know though it is mounted, a sentence each. */
  readonly warnings: readonly string[];
  /** Where the numbers of the mount are; undefined: nowhere. */
  readonly metrics?: string | undefined;
}

/** What a mount in the background tells the command that started it, once. */
export type Verdict =
  | ({ readonly ready: true } & Ready)
  | {
      readonly ready: false;
      readonly message: string;
      readonly advice?: string | undefined;
      /** What ended it. */
      readonly signal?: NodeJS.Signals | undefined;
    };

/** Tells the command that started this process, if it is still there; resolves when it is told. */
export async function tellCommand(verdict: Verdict): Promise<void> {
  await new Promise<void>((resolve) => {
    if (!process.connected) resolve();
    // That the command has ended meanwhile is no error.
    else process.send?.(verdict, () => resolve());
  });
  if (process.connected) process.disconnect();
}

/**
 * What a mount says that was started a moment ago; that it ended, when it says nothing.
 *
 * @param logFile where it would say why
 * @throws the system's error when it could not be started
 */
export function verdictOf(mount: ChildProcess, logFile: string): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- this same program says nothing else
    mount.once('message', (message) => resolve(message as Verdict));
    mount.once('error', reject);
    mount.once('exit', (code, signal) =>
      resolve({
        ready: false,
        message: `the mount ended before it was ready (${signal ?? `exit code ${code}`})`,
        advice: `Its log may say why: ${logFile}`,
        signal: signal === 'SIGINT' || signal === 'SIGTERM' ? signal : undefined,
      }),
    );
  });
}

/** Where the numbers of a mount are, in words. */
export function metricsLine(url: string): string {
  return `Its numbers are at ${url}, for all users of this machine.`;
}
