import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { FixtureMessage, FixtureMountOptions, FixtureRequest, FixtureState } from './fixture-mount.ts';

interface PendingAnswer {
  readonly resolve: (message: FixtureMessage) => void;
  readonly reject: (error: Error) => void;
}

/** The program of fixture-mount.ts, running: the only way for a test to touch a mount is from another process. */
export class FixtureDaemon {
  readonly pid: number;
  /** How it receives requests. */
  readonly receive: string;
  /** Resolves when the process is gone; tells whether the mount had ended before. */
  readonly exited: Promise<{ readonly code: number | null; readonly closed: boolean }>;
  readonly #child: ChildProcess;
  #answers: PendingAnswer[] = [];

  private constructor(child: ChildProcess, receive: string) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.receive = receive;
    let closed = false;
    child.on('message', (message: FixtureMessage) => {
      if (message.tell === 'closed') closed = true;
      else this.#answers.shift()?.resolve(message);
    });
    this.exited = once(child, 'exit').then(([code]: (number | null)[]) => {
      for (const answer of this.#answers.splice(0)) answer.reject(new Error('the daemon exited'));
      return { code: code ?? null, closed };
    });
  }

  /**
   * Starts the program.
   *
   * @param program of {@link compileProgram}
   * @param how `wrapper` is a command that runs it, such as setpriv(1) with its options; `fd` becomes its descriptor 4
   * @throws Error with the program's own message and advice when it can't mount
   */
  static async start(
    program: string,
    options: FixtureMountOptions,
    how: { readonly wrapper?: readonly string[]; readonly fd?: number } = {},
  ): Promise<FixtureDaemon> {
    const command = [...(how.wrapper ?? []), process.execPath, program, JSON.stringify(options)];
    const child = spawn(command[0] ?? '', command.slice(1), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', how.fd ?? 'ignore'],
    });
    const first = await new Promise<FixtureMessage>((resolve, reject) => {
      child.once('message', resolve);
      child.once('error', reject);
      child.once('exit', (code, signal) => reject(new Error(`the daemon exited: ${code ?? signal}`)));
    });
    if (first.tell === 'failed') throw new MountFailure(first.message, first.advice, first.user);
    if (first.tell !== 'ready') throw new Error(`the daemon began with ${first.tell}`);
    return new FixtureDaemon(child, first.receive);
  }

  async state(): Promise<FixtureState> {
    const message = await this.ask({ ask: 'state' });
    if (message.tell !== 'state') throw new Error(`the daemon answered ${message.tell}`);
    return message;
  }

  /** Asks until what it answers is as it should be: for what another process has begun, and nothing tells of. */
  async until(condition: (state: FixtureState) => boolean): Promise<FixtureState> {
    for (;;) {
      const state = await this.state();
      if (condition(state)) return state;
    }
  }

  ask(request: FixtureRequest): Promise<FixtureMessage> {
    return new Promise((resolve, reject) => {
      this.#answers.push({ resolve, reject });
      this.#child.send(request, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Unmounts by SIGTERM; resolves when the process is gone. */
  async stop(): Promise<{ readonly code: number | null; readonly closed: boolean }> {
    this.#child.kill('SIGTERM');
    return this.exited;
  }
}

/** What a mount that could not be made said. */
export class MountFailure extends Error {
  readonly advice: string | undefined;
  /** Whether it was said in words for the user. */
  readonly user: boolean;

  constructor(message: string, advice: string | undefined, user: boolean) {
    super(message);
    this.advice = advice;
    this.user = user;
  }
}
