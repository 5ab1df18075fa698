import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The most that is kept of what a program prints. */
const OUTPUT_MAX_CHARACTERS = 8 << 20;

export interface ProgramResult {
  /** Standard output and standard error, as they came. */
  readonly output: string;
  /** Undefined when a signal or the time limit ended the program. */
  readonly exitCode: number | undefined;
  readonly isLate: boolean;
}

export interface ProgramOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Seconds after which the program is killed, with all that it started. */
  readonly longestSeconds: number;
}

/** Runs a program to its end, in a process group of its own. */
export async function runProgram(
  command: readonly [string, ...string[]],
  { cwd, env = {}, longestSeconds }: ProgramOptions,
): Promise<ProgramResult> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let isLate = false;
    const keep = (text: string): void => {
      output = (output + text).slice(0, OUTPUT_MAX_CHARACTERS);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    const endGroup = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        // The whole group has ended.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    };
    const limit = setTimeout(() => {
      isLate = true;
      endGroup();
    }, longestSeconds * 1000);
    child.once('error', (error) => {
      clearTimeout(limit);
      reject(error);
    });
    // A grandchild that a test leaves behind keeps the pipes open, so wait for the program alone and end its group.
    child.once('exit', (code) => {
      clearTimeout(limit);
      endGroup();
      child.once('close', () => resolve({ output, exitCode: code ?? undefined, isLate }));
    });
  });
}

/** @returns the first of these paths that is an executable file; undefined when none is */
export function firstExecutable(paths: readonly (string | undefined)[]): string | undefined {
  return paths.find((path) => {
    if (path === undefined) return false;
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @returns the places where the PATH would have a program */
export function inPath(program: string): readonly string[] {
  return (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, program));
}
