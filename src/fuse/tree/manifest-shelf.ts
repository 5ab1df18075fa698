import type { LoadedManifest } from '../../ecs/dtool/loaded-manifest.ts';

/** Keeps the manifests that were used last in memory, up to a bound; the last one always, whatever its size. */
export class ManifestShelf {
  readonly #maxBytes: number;
  /** By whom it belongs to, the least recently used first. */
  readonly #manifests = new Map<object, LoadedManifest>();
  #bytes = 0;

  /** @param maxBytes what they may take together */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What they take now. */
  get bytes(): number {
    return this.#bytes;
  }

  get(owner: object): LoadedManifest | undefined {
    const manifest = this.#manifests.get(owner);
    if (manifest) {
      this.#manifests.delete(owner);
      this.#manifests.set(owner, manifest);
    }
    return manifest;
  }

  put(owner: object, manifest: LoadedManifest): void {
    this.remove(owner);
    this.#manifests.set(owner, manifest);
    this.#bytes += manifest.byteLength;
    for (const oldest of this.#manifests.keys()) {
      if (this.#bytes <= this.#maxBytes || oldest === owner) return;
      this.remove(oldest);
    }
  }

  remove(owner: object): void {
    this.#bytes -= this.#manifests.get(owner)?.byteLength ?? 0;
    this.#manifests.delete(owner);
  }
}
