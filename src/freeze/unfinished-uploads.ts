import { appendFile, readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import type { BegunUpload, UploadMemory } from '../ecs/multipart-upload.ts';
import type { Upload } from '../ecs/object-store.ts';
import { hasErrorCode } from '../errors.ts';

/** What an upload in parts is of: with another MD5 or other parts it is of no use. */
export interface UploadSubject {
  readonly key: string;
  /** Of the content, in hex. */
  readonly md5: string;
  readonly partBytes: number;
}

const id = z.string().min(1);
const lineSchema = z.union([
  z.object({ id, key: z.string(), md5: z.string(), partBytes: z.number().int().positive() }),
  z.object({ id, part: z.number().int().positive(), etag: z.string().min(1) }),
  z.object({ id, ended: z.literal(true) }),
]);
type Line = z.infer<typeof lineSchema>;

/**
 * Uploads in parts that are not completed, over the end of the process: a file of one line of JSON for each thing that
 * happens. A line that a crash has torn or lost costs sending a part again, and no more. (The store could tell, too, but
 * the access policy that dtool-ecs documents lets nobody ask.)
 */
export class UnfinishedUploads {
  readonly #path: string;
  readonly #uploads = new Map<string, UploadSubject & { readonly etags: Map<number, string> }>();
  #used = false;

  /** @param path in a directory that exists; the file may be missing */
  static async open(path: string): Promise<UnfinishedUploads> {
    const uploads = new UnfinishedUploads(path);
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (hasErrorCode(error, 'ENOENT')) return '';
      throw error;
    });
    for (const line of text.split('\n')) {
      const parsed = parseLine(line);
      if (parsed) uploads.#apply(parsed);
    }
    return uploads;
  }

  private constructor(path: string) {
    this.#path = path;
  }

  /** Whether any was ever begun, as far as is remembered. */
  get used(): boolean {
    return this.#used;
  }

  all(): readonly Upload[] {
    return Array.from(this.#uploads, ([uploadId, { key }]) => ({ id: uploadId, key }));
  }

  /** What is remembered of the uploads of one content. */
  memoryOf(subject: UploadSubject): UploadMemory {
    return {
      begun: this.#find(subject),
      started: async (uploadId) => this.#add({ id: uploadId, ...subject }),
      stored: async (uploadId, part, etag) => this.#add({ id: uploadId, part, etag }),
      ended: async (uploadId) => this.#add({ id: uploadId, ended: true }),
    };
  }

  /** Forgets everything. */
  async remove(): Promise<void> {
    this.#uploads.clear();
    await rm(this.#path, { force: true });
  }

  #find({ key, md5, partBytes }: UploadSubject): BegunUpload | undefined {
    for (const [uploadId, upload] of this.#uploads) {
      if (upload.key === key && upload.md5 === md5 && upload.partBytes === partBytes)
        return { id: uploadId, etags: upload.etags };
    }
    return undefined;
  }

  async #add(line: Line): Promise<void> {
    this.#apply(line);
    // The line break comes first, so that what a crash has torn is a line of its own.
    await appendFile(this.#path, `\n${JSON.stringify(line)}`, { mode: 0o600 });
  }

  #apply(line: Line): void {
    this.#used = true;
    if ('key' in line) this.#uploads.set(line.id, { ...line, etags: new Map() });
    else if ('ended' in line) this.#uploads.delete(line.id);
    else this.#uploads.get(line.id)?.etags.set(line.part, line.etag);
  }
}

function parseLine(line: string): Line | undefined {
  try {
    return lineSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
