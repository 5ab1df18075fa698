/** How far a freeze is. */
export interface FreezeProgress {
  /** `checking` reads files and sends nothing; in `committing` all items are sent. */
  readonly phase: 'checking' | 'uploading' | 'committing';
  readonly items: number;
  readonly totalItems: number;
  readonly bytes: number;
  readonly totalBytes: number;
  /** Items among `items` that were in the bucket already. */
  readonly skipped: number;
}

/** Counts what is done, and tells of every change. */
export class ProgressCounter {
  readonly #tell: (progress: FreezeProgress) => void;
  #progress: FreezeProgress;

  constructor(
    phase: FreezeProgress['phase'],
    totalItems: number,
    totalBytes: number,
    tell: (progress: FreezeProgress) => void,
  ) {
    this.#tell = tell;
    this.#progress = { phase, items: 0, totalItems, bytes: 0, totalBytes, skipped: 0 };
    tell(this.#progress);
  }

  get current(): FreezeProgress {
    return this.#progress;
  }

  enter(phase: FreezeProgress['phase']): void {
    this.#progress = { ...this.#progress, phase };
    this.#tell(this.#progress);
  }

  /** @param bytes negative where they have to be sent again */
  add(change: { readonly items?: number; readonly bytes?: number; readonly skipped?: number }): void {
    const { items = 0, bytes = 0, skipped = 0 } = change;
    this.#progress = {
      ...this.#progress,
      items: this.#progress.items + items,
      bytes: this.#progress.bytes + bytes,
      skipped: this.#progress.skipped + skipped,
    };
    this.#tell(this.#progress);
  }
}
