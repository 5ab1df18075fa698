import { constants } from 'node:os';

/** A signal has ended the start of a mount: nothing is mounted, and nothing will be. */
export class Interrupted extends Error {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals, mountpoint: string) {
    super(`mounting ${mountpoint} was ended by ${signal}; nothing is mounted`);
    this.signal = signal;
  }

  /** As a shell has it for a program that a signal ended: 130 for SIGINT, 143 for SIGTERM. */
  get exitCode(): number {
    return 128 + constants.signals[this.signal];
  }
}
