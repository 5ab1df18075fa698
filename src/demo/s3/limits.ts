/**
 * The limits of S3 itself, as its user guide and API reference give them. They bound what the embedded server takes.
 */
import { GiB, KiB, MiB } from '../../limits.ts';

/** The longest key, in bytes of UTF-8. */
export const KEY_MAX_BYTES = 1 * KiB;
/** Names and values of an object's user metadata together, without the `x-amz-meta-` in front of the names. */
export const METADATA_MAX_BYTES = 2 * KiB;
/** The largest body of one PutObject or UploadPart. */
export const PUT_MAX_BYTES = 5 * GiB;
/** The smallest part of a multipart upload, the last one excepted. */
export const PART_MIN_BYTES = 5 * MiB;
export const PART_NUMBER_MAX = 10_000;
/** Keys of a page of a listing, of one DeleteObjects, parts and uploads of a page. */
export const PAGE_MAX = 1_000;
export const POLICY_MAX_BYTES = 20 * KiB;
/** XML in a request: 1,000 keys of 1,024 bytes, each byte escaped with up to 6 characters, fit in. */
export const XML_MAX_BYTES = 8 * MiB;
/** How far a request's date may be from the server's clock. */
export const CLOCK_SKEW_MAX_MS = 15 * 60_000;
/** The longest validity of a presigned URL. */
export const PRESIGNED_MAX_SECONDS = 7 * 24 * 3600;
/** The longest line of the aws-chunked framing, and all of a body's trailers. */
export const CHUNK_LINE_MAX_BYTES = 4 * KiB;
