/**
 * Every bound of the program, with its unit in its name. What must hold between them is asserted below, at start.
 */
import assert from 'node:assert/strict';

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** The unit of the block cache: one ranged GET for a random read, and the grain of everything kept. */
export const BLOCK_BYTES = 256 * KiB;
/** Read-ahead of one open file starts with this much and doubles up to the other. */
export const READ_AHEAD_MIN_BYTES = 1 * MiB;
export const READ_AHEAD_MAX_BYTES = 16 * MiB;
/** The most that one GET asks for. A longer range is several GETs side by side. */
export const RANGED_GET_MAX_BYTES = 4 * MiB;

/** Requests to the store at once, over everything that a mount does. */
export const STORE_REQUESTS_MAX = 32;
/** Of these, so many are kept free for readers that wait, whatever else goes on. */
export const STORE_REQUESTS_RESERVED = 8;

/** Tries of a request before its error is believed, the first included. */
export const STORE_TRIES_MAX = 20;
export const RETRY_DELAY_MIN_MS = 50;
export const RETRY_DELAY_MAX_MS = 5_000;
/** Time to connect, and the longest silence of a connection in use. */
export const CONNECT_TIMEOUT_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 30_000;

/** Small metadata (registration keys, admin metadata, structure) is refused above this. */
export const SMALL_OBJECT_MAX_BYTES = 1 * MiB;
/** A registration key's body is a key prefix, and S3 keys have at most 1,024 bytes. */
export const REGISTRATION_KEY_BODY_MAX_BYTES = 1 * KiB;
/** A manifest is about 220 bytes an item: this is two million items. */
export const MANIFEST_MAX_BYTES = 512 * MiB;
/** README, tags, annotations and overlays of one dataset; more are not listed. */
export const DATASET_METADATA_OBJECTS_MAX = 100_000;

/** The longest name in a directory, in bytes of UTF-8 (Linux NAME_MAX). */
export const NAME_MAX_BYTES = 255;
/** How long a file operation waits for a list that is being refreshed before it takes the one it has. */
export const REFRESH_WAIT_MS = 2_000;

/** Open files and directories of a mount at once. */
export const HANDLES_MAX = 65_536;

assert(RANGED_GET_MAX_BYTES % BLOCK_BYTES === 0);
assert(READ_AHEAD_MIN_BYTES >= BLOCK_BYTES && READ_AHEAD_MAX_BYTES >= READ_AHEAD_MIN_BYTES);
assert(STORE_REQUESTS_RESERVED < STORE_REQUESTS_MAX);
assert(RETRY_DELAY_MIN_MS < RETRY_DELAY_MAX_MS);
