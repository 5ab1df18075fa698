import { createHash } from 'node:crypto';
import type { StoreOperation } from '../../src/ecs/decorated-object-store.ts';
import {
  StoreError,
  type CompletedPart,
  type CreateUploadOptions,
  type ListedObject,
  type ListPage,
  type ListQuery,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutPartOptions,
  type RangeOptions,
  type RequestOptions,
  type StoredObject,
  type StreamedBody,
  type StoreErrorReason,
  type Upload,
  type UploadPart,
} from '../../src/ecs/object-store.ts';
import { NO_REQUESTS } from '../../src/ecs/store-counters.ts';

export interface MemoryStoreOptions {
  /** Default `bucket`. */
  readonly bucket?: string;
  /** The order of lists: UTF-8 bytes as most stores have it (default), or UTF-16 code units as ECS has it. */
  readonly order?: 'utf-8' | 'utf-16';
  /** The most entries of a page, whatever a query asks for; default 1,000. */
  readonly pageSize?: number;
  /** Whether an empty page that is not the last precedes every page but the first; default no. */
  readonly emptyPages?: boolean;
  /** Milliseconds since the epoch, for `lastModified`; default the wall clock. */
  readonly now?: () => number;
}

/** A gate in front of an operation, see {@link MemoryObjectStore.hold}. */
export interface Gate {
  /** Requests that wait at the gate. */
  readonly waiting: number;
  /** Resolves when so many requests wait at the gate. */
  reached(count?: number): Promise<void>;
  /** Lets all pass that wait and all that come. */
  release(): void;
}

interface MemoryUpload {
  readonly key: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly parts: Map<number, { readonly content: Buffer; readonly etag: string }>;
}

/** The contract of the port in memory, with hooks for tests: seeding, counting, gates and failures. */
export class MemoryObjectStore implements ObjectStore {
  readonly bucket: string;
  /** Requests by operation, whatever came of them. */
  readonly requests: Record<StoreOperation, number> = { ...NO_REQUESTS };
  readonly #objects = new Map<string, StoredObject>();
  readonly #uploads = new Map<string, MemoryUpload>();
  #lastUpload = 0;
  readonly #gates = new Map<StoreOperation, OpenableGate>();
  readonly #failures = new Map<StoreOperation, unknown[]>();
  readonly #compare: (a: string, b: string) => number;
  readonly #pageSize: number;
  readonly #emptyPages: boolean;
  readonly #now: () => number;

  constructor(options: MemoryStoreOptions = {}) {
    const { bucket = 'bucket', order = 'utf-8', pageSize = 1_000, emptyPages = false } = options;
    this.bucket = bucket;
    this.#compare = order === 'utf-8' ? byUtf8 : byUtf16;
    this.#pageSize = pageSize;
    this.#emptyPages = emptyPages;
    this.#now = options.now ?? Date.now;
  }

  /** All keys, in the store's order. */
  get keys(): readonly string[] {
    return [...this.#objects.keys()].toSorted(this.#compare);
  }

  /** All requests so far. */
  get requestCount(): number {
    return Object.values(this.requests).reduce((sum, count) => sum + count, 0);
  }

  /** Stores an object behind the back of counters, gates and failures. Text is stored as UTF-8. */
  seed(
    key: string,
    content: string | Uint8Array,
    metadata: Readonly<Record<string, string>> = {},
    etag?: string,
  ): void {
    const body = Buffer.from(content);
    this.#objects.set(key, {
      body,
      size: body.length,
      etag: etag ?? md5Of(body).toString('hex'),
      lastModified: this.#now(),
      metadata: { ...metadata },
    });
  }

  /** The content of an object, or undefined; behind the back of counters, gates and failures. */
  peek(key: string): Buffer | undefined {
    return this.#objects.get(key)?.body;
  }

  /** Removes an object behind the back of counters, gates and failures. */
  remove(key: string): void {
    this.#objects.delete(key);
  }

  /** Stops the requests of one operation before they do anything, until the gate is released. */
  hold(operation: StoreOperation): Gate {
    const gate = new OpenableGate(() => this.#gates.delete(operation));
    this.#gates.set(operation, gate);
    return gate;
  }

  /** Makes the next requests of one operation fail, in the order of the calls. */
  failNext(operation: StoreOperation, error: unknown, times = 1): void {
    const failures = this.#failures.get(operation) ?? [];
    failures.push(...Array.from({ length: times }, () => error));
    this.#failures.set(operation, failures);
  }

  /** A StoreError of this bucket, for {@link failNext}. */
  error(reason: StoreErrorReason, key = 'key'): StoreError {
    return new StoreError(reason, { bucket: this.bucket, key }, `injected ${reason}`);
  }

  async getRange(
    key: string,
    offset: number,
    targets: readonly Uint8Array[],
    options?: RangeOptions,
  ): Promise<ObjectInfo> {
    await this.#enter('getRange', key, options);
    const { body, ...info } = this.#find(key);
    const length = targets.reduce((sum, target) => sum + target.length, 0);
    if (offset + length > body.length) throw this.#error('short', key);
    let from = offset;
    for (const [index, target] of targets.entries()) {
      if (index > 0) options?.onFilled?.(index, info);
      target.set(body.subarray(from, from + target.length));
      from += target.length;
    }
    return info;
  }

  async get(key: string, maxBytes: number, options?: RequestOptions): Promise<StoredObject> {
    await this.#enter('get', key, options);
    const object = this.#find(key);
    if (object.size > maxBytes) throw this.#error('too-large', key);
    return { ...object, body: Buffer.from(object.body) };
  }

  async head(key: string, options?: RequestOptions): Promise<ObjectInfo> {
    await this.#enter('head', key, options);
    const { body: _, ...info } = this.#find(key);
    return info;
  }

  async listPage(query: ListQuery, options?: RequestOptions): Promise<ListPage> {
    await this.#enter('listPage', undefined, options);
    const { prefix, delimiter, continuationToken, maxKeys = 1_000 } = query;
    const [kind, after] = parseToken(continuationToken);
    if (this.#emptyPages && kind === 'next') {
      return { objects: [], commonPrefixes: [], continuationToken: `after-empty:${after}` };
    }
    const entries = new Map<string, ListedObject | undefined>();
    for (const key of this.keys) {
      if (!key.startsWith(prefix)) continue;
      const end = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
      const { size, etag, lastModified } = this.#find(key);
      if (end === -1) entries.set(key, { key, size, etag, lastModified });
      else entries.set(key.slice(0, end + (delimiter?.length ?? 0)), undefined);
    }
    const rest = [...entries].filter(([name]) => kind === 'first' || this.#compare(name, after) > 0);
    const page = rest.slice(0, Math.min(this.#pageSize, maxKeys, 1_000));
    return {
      objects: page.flatMap(([, object]) => (object ? [object] : [])),
      commonPrefixes: page.flatMap(([name, object]) => (object ? [] : [name])),
      continuationToken: page.length < rest.length ? `next:${page.at(-1)?.[0] ?? after}` : undefined,
    };
  }

  async put(key: string, body: PutBody, options: PutOptions = {}): Promise<void> {
    await this.#enter('put', key, options);
    const { metadata = {}, ifNoneMatch } = options;
    this.#checkMetadata(key, metadata);
    const content = await this.#receive(key, body, options);
    if (ifNoneMatch === '*' && this.#objects.has(key)) throw this.#error('precondition-failed', key);
    this.seed(key, content, metadata);
  }

  async delete(key: string, options?: RequestOptions): Promise<void> {
    await this.#enter('delete', key, options);
    this.#objects.delete(key);
  }

  /** Uploads that are neither completed nor aborted, with the numbers of their parts; behind the back of all hooks. */
  get uploads(): readonly (Upload & { readonly parts: readonly number[] })[] {
    return Array.from(this.#uploads, ([id, { key, parts }]) => ({ id, key, parts: [...parts.keys()] }));
  }

  /** Forgets an upload behind the back of counters, gates and failures. */
  dropUpload(id: string): void {
    this.#uploads.delete(id);
  }

  async createUpload(key: string, options: CreateUploadOptions = {}): Promise<string> {
    await this.#enter('createUpload', key, options);
    const { metadata = {} } = options;
    this.#checkMetadata(key, metadata);
    const id = `upload-${(this.#lastUpload += 1)}`;
    this.#uploads.set(id, { key, metadata, parts: new Map() });
    return id;
  }

  async putPart(part: UploadPart, body: PutBody, options: PutPartOptions = {}): Promise<string> {
    await this.#enter('putPart', part.key, options);
    const content = await this.#receive(part.key, body, options);
    const etag = createHash('md5').update(content).digest('hex');
    this.#findUpload(part).parts.set(part.number, { content, etag });
    return etag;
  }

  async completeUpload(
    upload: Upload,
    parts: readonly CompletedPart[],
    options?: RequestOptions,
  ): Promise<void> {
    await this.#enter('completeUpload', upload.key, options);
    const { key, metadata, parts: stored } = this.#findUpload(upload);
    const contents = parts.map(({ number, etag }) => {
      const part = stored.get(number);
      if (part?.etag.replaceAll('"', '') !== etag.replaceAll('"', '')) throw this.#error('bad-request', key);
      return part.content;
    });
    if (contents.length === 0) throw this.#error('bad-request', key);
    const digests = createHash('md5').update(Buffer.concat(contents.map((one) => md5Of(one))));
    this.seed(key, Buffer.concat(contents), metadata, `${digests.digest('hex')}-${contents.length}`);
    this.#uploads.delete(upload.id);
  }

  async abortUpload(upload: Upload, options?: RequestOptions): Promise<void> {
    await this.#enter('abortUpload', upload.key, options);
    this.#uploads.delete(upload.id);
  }

  async listUploads(prefix: string, options?: RequestOptions): Promise<readonly Upload[]> {
    await this.#enter('listUploads', undefined, options);
    return this.uploads.filter(({ key }) => key.startsWith(prefix)).map(({ id, key }) => ({ id, key }));
  }

  async #receive(key: string, body: PutBody, { signal, md5 }: PutPartOptions): Promise<Buffer> {
    const content = body instanceof Uint8Array ? Buffer.from(body) : await collect(body, signal);
    if (content.length !== (body instanceof Uint8Array ? body.length : body.size)) {
      throw this.#error('bad-request', key);
    }
    if (md5 && !md5Of(content).equals(md5)) throw this.#error('bad-digest', key);
    return content;
  }

  #checkMetadata(key: string, metadata: Readonly<Record<string, string>>): void {
    if (Object.values(metadata).some((value) => /[^ -~]|^ | $/.test(value))) {
      throw this.#error('bad-request', key);
    }
  }

  #findUpload({ key, id }: Upload): MemoryUpload {
    const upload = this.#uploads.get(id);
    if (upload?.key !== key) throw this.#error('no-such-upload', key);
    return upload;
  }

  async #enter(
    operation: StoreOperation,
    key: string | undefined,
    options: RequestOptions = {},
  ): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.requests[operation]++;
    await this.#gates.get(operation)?.pass(signal);
    await Promise.resolve();
    signal?.throwIfAborted();
    const failures = this.#failures.get(operation) ?? [];
    if (failures.length > 0) throw failures.shift();
    if (key === '') throw this.#error('bad-request', key);
  }

  #find(key: string): StoredObject {
    const object = this.#objects.get(key);
    if (object === undefined) throw this.#error('no-such-key', key);
    return object;
  }

  #error(reason: StoreErrorReason, key: string): StoreError {
    return new StoreError(reason, { bucket: this.bucket, key }, reason);
  }
}

class OpenableGate implements Gate {
  readonly #onRelease: () => void;
  readonly #inside = new Set<() => void>();
  readonly #arrivals: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(onRelease: () => void) {
    this.#onRelease = onRelease;
  }

  get waiting(): number {
    return this.#inside.size;
  }

  async reached(count = 1): Promise<void> {
    if (this.waiting < count) {
      await new Promise<void>((resolve) => this.#arrivals.push({ count, resolve }));
    }
  }

  release(): void {
    this.#onRelease();
    for (const pass of this.#inside) pass();
  }

  async pass(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const leave = (settle: () => void) => (): void => {
        this.#inside.delete(pass);
        signal?.removeEventListener('abort', giveUp);
        settle();
      };
      const pass = leave(resolve);
      const giveUp = leave(() => reject(signal?.reason));
      this.#inside.add(pass);
      signal?.addEventListener('abort', giveUp);
      for (const { count, resolve: arrived } of this.#arrivals) if (this.waiting >= count) arrived();
    });
  }
}

function parseToken(token: string | undefined): readonly ['first' | 'next' | 'after-empty', string] {
  const [, kind, after = ''] = /^(next|after-empty):(.*)$/s.exec(token ?? '') ?? [];
  if (kind === 'next' || kind === 'after-empty') return [kind, after];
  return ['first', ''];
}

async function collect(body: StreamedBody, signal: AbortSignal | undefined): Promise<Buffer> {
  const collecting = (async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of body.open()) {
      if (signal?.aborted) break;
      chunks.push(Buffer.from(chunk));
    }
    return Buffer.concat(chunks);
  })();
  if (!signal) return collecting;
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([collecting, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function md5Of(content: Uint8Array): Buffer {
  return createHash('md5').update(content).digest();
}

function byUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function byUtf16(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
