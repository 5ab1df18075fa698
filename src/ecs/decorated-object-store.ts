import type { ObjectInfo, ObjectStore, PutBody, PutOptions, RequestOptions } from './object-store.ts';

export type StoreOperation =
  | 'getRange'
  | 'get'
  | 'head'
  | 'listPage'
  | 'put'
  | 'delete'
  | 'createUpload'
  | 'putPart'
  | 'completeUpload'
  | 'abortUpload'
  | 'listUploads';

/** What a decorator knows of a request before it is made. */
export interface StoreRequest {
  readonly operation: StoreOperation;
  readonly bucket: string;
  /** The key or, for a list, the prefix. */
  readonly key: string;
  /** The bytes that a ranged read asks for. */
  readonly range?: { readonly offset: number; readonly length: number };
  readonly options: RequestOptions & Pick<PutOptions, 'ifNoneMatch'>;
}

/**
 * What a decorator does around one request.
 *
 * @param run makes the request, anew every time it is called; targets that the reader was told to be full are his, so
 *   that a ranged read goes on after them
 * @param bytesOf the bytes of content that a request with this result has moved, in either direction
 */
export type Around = <T>(
  request: StoreRequest,
  run: () => Promise<T>,
  bytesOf: (result: T) => number,
) => Promise<T>;

/** A store that makes every request of `store` through `around`. */
export function decorate(store: ObjectStore, around: Around): ObjectStore {
  const { bucket } = store;
  return {
    bucket,
    getRange(key, offset, targets, options = {}) {
      const length = lengthOf(targets);
      const { onFilled } = options;
      let full = 0;
      const run = (): Promise<ObjectInfo> => {
        if (!onFilled) return store.getRange(key, offset, targets, options);
        const before = full;
        return store.getRange(key, offset + lengthOf(targets.slice(0, before)), targets.slice(before), {
          ...options,
          onFilled: (count, info) => {
            full = before + count;
            onFilled(full, info);
          },
        });
      };
      return around(
        { operation: 'getRange', bucket, key, range: { offset, length }, options },
        run,
        () => length,
      );
    },
    get: (key, maxBytes, options = {}) =>
      around(
        { operation: 'get', bucket, key, options },
        () => store.get(key, maxBytes, options),
        (object) => object.body.length,
      ),
    head: (key, options = {}) =>
      around(
        { operation: 'head', bucket, key, options },
        () => store.head(key, options),
        () => 0,
      ),
    listPage: (query, options = {}) =>
      around(
        { operation: 'listPage', bucket, key: query.prefix, options },
        () => store.listPage(query, options),
        () => 0,
      ),
    put: (key, body, options = {}) =>
      around(
        { operation: 'put', bucket, key, options },
        () => store.put(key, body, options),
        () => sizeOf(body),
      ),
    delete: (key, options = {}) =>
      around(
        { operation: 'delete', bucket, key, options },
        () => store.delete(key, options),
        () => 0,
      ),
    createUpload: (key, options = {}) =>
      around(
        { operation: 'createUpload', bucket, key, options },
        () => store.createUpload(key, options),
        () => 0,
      ),
    putPart: (part, body, options = {}) =>
      around(
        { operation: 'putPart', bucket, key: part.key, options },
        () => store.putPart(part, body, options),
        () => sizeOf(body),
      ),
    completeUpload: (upload, parts, options = {}) =>
      around(
        { operation: 'completeUpload', bucket, key: upload.key, options },
        () => store.completeUpload(upload, parts, options),
        () => 0,
      ),
    abortUpload: (upload, options = {}) =>
      around(
        { operation: 'abortUpload', bucket, key: upload.key, options },
        () => store.abortUpload(upload, options),
        () => 0,
      ),
    listUploads: (prefix, options = {}) =>
      around(
        { operation: 'listUploads', bucket, key: prefix, options },
        () => store.listUploads(prefix, options),
        () => 0,
      ),
  };
}

function lengthOf(targets: readonly Uint8Array[]): number {
  return targets.reduce((sum, target) => sum + target.length, 0);
}

function sizeOf(body: PutBody): number {
  return body instanceof Uint8Array ? body.length : body.size;
}
