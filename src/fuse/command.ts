import { spawn } from 'node:child_process';
import { MOUNT_COMMAND_TIMEOUT_MS } from '../limits.ts';

/** More than any message of these commands. */
const OUTPUT_MAX_CHARS = 16_384;

export interface CommandResult {
  /** Whether it exited with 0. */
  readonly done: boolean;
  /** What it wrote to standard error, without the newline at the end; how it ended when it wrote nothing. */
  readonly message: string;
}

/**
 * Runs one of the system's commands for mounts, in the C locale and without a shell. It is killed when it takes longer
 * than MOUNT_COMMAND_TIMEOUT_MS.
 *
 * @param fd what the command has as descriptor 3
 * @throws the system's error when there is no such command
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly fd?: number; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {
    cwd: '/',
    // A Ctrl-C on our terminal is not for it: it would end between two steps.
    detached: true,
    env: { ...process.env, ...options.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', options.fd ?? 'ignore'],
  });
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(0, OUTPUT_MAX_CHARS);
  });
  // Not spawn's own timeout: that one goes on after a command that was not found.
  const timer = setTimeout(() => child.kill('SIGKILL'), MOUNT_COMMAND_TIMEOUT_MS);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        const end = signal === null ? `${command} exited with ${code}` : `${command} was ended by ${signal}`;
        resolve({ done: code === 0, message: output.trim() || end });
      });
    });
  } finally {
    clearTimeout(timer);
  }
}
