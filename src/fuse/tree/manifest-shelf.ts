import type { LoadedManifest } from '../../ecs/dtool/loaded-manifest.ts';

interface Kept {
  readonly manifest: LoadedManifest;
  readonly giveBack: () => void;
}

/** Keeps the manifests that were used last in memory, up to a bound; the last one always, whatever its size. */
export class ManifestShelf {
  readonly #maxBytes: number;
  readonly #lend: (bytes: number) => () => void;
  /** By whom it belongs to, the least recently used first. */
  readonly #kept = new Map<object, Kept>();
  #bytes = 0;

  /**
   * @param maxBytes what they may take together
   * @param lend is asked for the memory of each, and returns what gives it back; default: there is enough
   */
  constructor(maxBytes: number, lend: (bytes: number) => () => void = () => () => {}) {
    this.#maxBytes = maxBytes;
    this.#lend = lend;
  }

  /** What they take now. */
  get bytes(): number {
    return this.#bytes;
  }

  get(owner: object): LoadedManifest | undefined {
    const kept = this.#kept.get(owner);
    if (kept) {
      this.#kept.delete(owner);
      this.#kept.set(owner, kept);
    }
    return kept?.manifest;
  }

  put(owner: object, manifest: LoadedManifest): void {
    this.remove(owner);
    this.#kept.set(owner, { manifest, giveBack: this.#lend(manifest.byteLength) });
    this.#bytes += manifest.byteLength;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#maxBytes || oldest === owner) return;
      this.remove(oldest);
    }
  }

  remove(owner: object): void {
    const kept = this.#kept.get(owner);
    if (!kept) return;
    this.#kept.delete(owner);
    this.#bytes -= kept.manifest.byteLength;
    kept.giveBack();
  }
}
