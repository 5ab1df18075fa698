import type { ChildProcess } from 'node:child_process';

/** What a mount in the background tells the command that started it, once. */
export type Verdict =
  | { readonly ready: true; readonly warnings: readonly string[]; readonly metrics?: string | undefined }
  | { readonly ready: false; readonly message: string; readonly advice?: string | undefined };

/** Tells the process that started this one, if it waits to hear it. */
export function tellParent(verdict: Verdict): void {
  process.send?.(verdict, () => process.disconnect?.());
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
      }),
    );
  });
}

/** Where the numbers of a mount are, in words. */
export function metricsLine(url: string): string {
  return `Its numbers are at ${url}, for all users of this machine.`;
}
