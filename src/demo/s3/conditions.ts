import { S3Error } from './s3-error.ts';

/** What conditions compare with. */
interface Version {
  /** Without quotes. */
  readonly etag: string;
  /** Milliseconds since the epoch. */
  readonly lastModified: number;
}

type Header = (name: string) => string | undefined;

/** Whether a list of entity tags, with or without quotes, has this one; `*` has every one. */
function hasTag(list: string, etag: string): boolean {
  return list
    .split(',')
    .map((tag) => tag.trim().replace(/^(W\/)?"(.*)"$/, '$2'))
    .some((tag) => tag === '*' || tag === etag);
}

/** Seconds, since HTTP dates have no more; undefined for what is no date, which HTTP has ignored. */
function seconds(date: string | undefined): number | undefined {
  const ms = Date.parse(date ?? '');
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}

/**
 * The conditions of GET and HEAD in the order of RFC 9110, section 13.2.2; with the prefix `x-amz-copy-source-`
 * those of CopyObject.
 *
 * @throws S3Error PreconditionFailed, or NotModified where a plain read has what it had already
 */
export function checkReadConditions(header: Header, version: Version, prefix = ''): void {
  const failed = new S3Error('PreconditionFailed');
  const unchanged =
    prefix === ''
      ? new S3Error('NotModified', undefined, {
          ETag: `"${version.etag}"`,
          'Last-Modified': new Date(version.lastModified).toUTCString(),
        })
      : failed;
  const modified = Math.floor(version.lastModified / 1000);

  const ifMatch = header(`${prefix}if-match`);
  const unmodifiedSince = seconds(header(`${prefix}if-unmodified-since`));
  if (ifMatch !== undefined) {
    if (!hasTag(ifMatch, version.etag)) throw failed;
  } else if (unmodifiedSince !== undefined && modified > unmodifiedSince) throw failed;

  const ifNoneMatch = header(`${prefix}if-none-match`);
  const modifiedSince = seconds(header(`${prefix}if-modified-since`));
  if (ifNoneMatch !== undefined) {
    if (hasTag(ifNoneMatch, version.etag)) throw unchanged;
  } else if (modifiedSince !== undefined && modified <= modifiedSince) throw unchanged;
}

/**
 * The conditions of a write: If-None-Match, of which S3 knows `*` only, and If-Match. The function that comes back
 * checks them against what is stored under the key, at the moment of the write.
 *
 * @throws S3Error NotImplemented for an If-None-Match with entity tags
 */
export function writeConditions(header: Header): (existing: Version | undefined) => void {
  const ifMatch = header('if-match');
  const ifNoneMatch = header('if-none-match');
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw new S3Error('NotImplemented');
  return (existing) => {
    if (ifNoneMatch === '*' && existing) throw new S3Error('PreconditionFailed');
    if (ifMatch === undefined) return;
    if (!existing) throw new S3Error('NoSuchKey');
    if (!hasTag(ifMatch, existing.etag)) throw new S3Error('PreconditionFailed');
  };
}
