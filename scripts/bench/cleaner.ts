/** What has to be undone, in reverse order: at the end, after an error, and on Ctrl-C. */
export class Cleaner {
  readonly #steps: (() => Promise<void> | void)[] = [];
  #running: Promise<void> | undefined;

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => void this.run().then(() => process.exit(130)));
    }
  }

  add(step: () => Promise<void> | void): void {
    this.#steps.push(step);
  }

  /** Runs every step, whatever the others do; the steps' failures are printed. */
  async run(): Promise<void> {
    this.#running ??= this.#unwind();
    return this.#running;
  }

  async #unwind(): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        console.error('cleaning up:', error);
      }
    }
  }
}
