/**
 * Every bound of the program, with its unit in its name. What must hold between them is asserted below, at start.
 */
import assert from 'node:assert/strict';

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** The unit of the block cache: one ranged GET for a random read, and the grain of everything kept. */
export const BLOCK_BYTES = 256 * KiB;
/** What a block takes in memory besides its bytes: many small items are many small blocks. */
export const BLOCK_OVERHEAD_BYTES = 1.5 * KiB;
/** Read-ahead of all open files together has one of so many parts of the memory for blocks. */
export const READ_AHEAD_CACHE_PARTS = 4;
/**
 * Manifests and freezes take of the memory for blocks what they need, but leave one of so many parts of what blocks have
 * that were read.
 */
export const LENT_CACHE_PARTS = 4;
/** A dataset that was frozen from here fills at most one of so many parts of the block cache. */
export const FILLED_CACHE_PARTS = 4;
/** Read-ahead of one open file starts with this much and doubles up to the other. */
export const READ_AHEAD_MIN_BYTES = 1 * MiB;
export const READ_AHEAD_MAX_BYTES = 64 * MiB;
/** Ways through one open file that are told apart, and reads in equal steps that are foreseen. */
export const READ_STREAMS_MAX = 8;
export const READ_AHEAD_STEPS_MAX = 64;
/** Small files, of one block at most, that are fetched ahead of who reads one after the other. */
export const SMALL_FILES_AHEAD_MAX = 64;
/** One of so many small files at most is read by who still reads one after the other. */
export const SMALL_FILES_STEP_MAX = 4;
/** Entries among which the next small file is looked for. */
export const SMALL_FILES_LOOK_MAX = 64;
/**
 * The most that one GET asks for. A longer range is several GETs side by side. (radosgw and the mount take a tenth to a fifth
 * less of the processor for a GiB than with 4 MiB; with 16 MiB too few would be under way at once.)
 */
export const RANGED_GET_MAX_BYTES = 8 * MiB;

/**
 * The disk cache, per directory and over all processes that share it. Blocks of one content lie in files of so many
 * neighbours, which come and go together: 16 MiB.
 */
export const DISK_EXTENT_BLOCKS = 64;
/** The page of the file system: what follows a block on disk takes one. */
export const DISK_PAGE_BYTES = 4 * KiB;
/** What a file takes besides its blocks: many small items are many small files. */
export const DISK_FILE_OVERHEAD_BYTES = 1 * KiB;
/** What the disk cache takes unless it is told otherwise, and the least that it can be told. */
export const DISK_CACHE_DEFAULT_BYTES = 10 * GiB;
export const DISK_CACHE_MIN_BYTES = 64 * MiB;
/** So much of the file system stays free. */
export const DISK_FREE_MIN_PART = 0.05;
/**
 * A process writes such a part of the bound, then looks at what all of them have written together; where that is above
 * one part of the bound, the oldest go until it is down to the other. So many processes may write at once before the
 * bound could be passed.
 */
export const DISK_WRITE_GRANT_PART = 1 / 128;
export const DISK_TRIM_ABOVE_PART = 15 / 16;
export const DISK_TRIM_TO_PART = 7 / 8;
export const DISK_WRITERS_MAX = 8;
/** Blocks that wait to be written have one of so many parts of the memory for blocks; what is beyond is not kept. */
export const DISK_QUEUE_CACHE_PARTS = 8;
/** Files that are written at once. */
export const DISK_WRITES_MAX = 2;
/** After a write that failed, as on a full disk, nothing is written for this long. */
export const DISK_WRITE_PAUSE_MS = 60_000;
/** A file that is read is marked as used at most so often. */
export const DISK_TOUCH_INTERVAL_MS = 60_000;
/** What is remembered of which blocks of large contents are on disk, to hold them against their MD5 when all are. */
export const WHOLE_CONTENTS_BITMAP_MAX_BYTES = 8 * MiB;
/** Contents that a mount remembers to be damaged. */
export const DAMAGED_CONTENTS_MAX = 16_384;
/** What one request of `warm` and `verify` asks for, which have many at once. */
export const CACHE_COMMAND_RUN_BYTES = 4 * MiB;
/** Requests of `warm` at once for items, and for each of the large ones; its store has its own limit for all together. */
export const WARM_REQUESTS_MAX = 8;
/** Items that `verify` reads at once, and requests ahead of what it hashes in each. */
export const VERIFY_ITEMS_MAX = 8;
export const VERIFY_RUNS_AHEAD = 3;
/** What `warm` and `verify` may hold in blocks, where a mount has `--cache-memory`. */
export const CACHE_COMMAND_MEMORY_BYTES = 256 * MiB;
/** Items and blocks that are looked for on disk in one go. */
export const CACHE_COMMAND_BATCH = 4_096;
/** Files whose last mark is remembered. */
export const DISK_TOUCHED_FILES_MAX = 16_384;

/** Requests to the store at once, over everything that a mount does. */
export const STORE_REQUESTS_MAX = 32;
/** Of these, so many are kept free for readers that wait, whatever else goes on. */
export const STORE_REQUESTS_RESERVED = 8;

/** Tries of a request before its error is believed, the first included. */
export const STORE_TRIES_MAX = 20;
/** Of these, so many may say that the object ends before the range: a truncated object is an error within a second. */
export const SHORT_TRIES_MAX = 4;
export const RETRY_DELAY_MIN_MS = 50;
export const RETRY_DELAY_MAX_MS = 5_000;
/** What a store asks for with Retry-After is obeyed up to this; somebody waits. */
export const RETRY_AFTER_MAX_MS = 60_000;
/** Time to connect, and the longest silence of a connection in use. */
export const CONNECT_TIMEOUT_MS = 5_000;
export const REQUEST_TIMEOUT_MS = 30_000;
/**
 * A store, or a gateway in front of it, may pass on or put together all of an object before it answers. The silence before
 * an answer is longer by what that takes at this rate, which a single disk or a gigabit line exceeds ten times: 11 minutes
 * for the largest PUT (5 GiB), 38 s for a part of 64 MiB.
 */
export const STORE_WORK_MIN_BYTES_PER_SECOND = 8 * MiB;
/** Whatever there is to do, a store answers within this. */
export const ANSWER_TIMEOUT_MAX_MS = 15 * 60_000;
/** In as long as a silence may last, so many bytes of an answer's body come at least, or its end: 0.5 KiB/s. */
export const ANSWER_PROGRESS_MIN_BYTES = 16 * KiB;
/** Interim answers (status 1xx) before the final one, which HTTP does not bound. */
export const HTTP_INTERIM_ANSWERS_MAX = 32;
/** A connection that is not used is kept for this long, or for less where the store says so. */
export const CONNECTION_KEEP_MS = 30_000;
/** The head of an answer, and what a connection reads into that is no body with a place of its own. */
export const HTTP_HEAD_MAX_BYTES = 64 * KiB;
export const HTTP_SCRATCH_BYTES = 8 * KiB;

/** One page of a list, a thousand keys of 1 KiB that are percent-encoded, is refused above this. */
export const LIST_PAGE_MAX_BYTES = 16 * MiB;
/** Small metadata (registration keys, admin metadata, structure) is refused above this. */
export const SMALL_OBJECT_MAX_BYTES = 1 * MiB;
/** A registration key's body is a key prefix, and S3 keys have at most 1,024 bytes. */
export const REGISTRATION_KEY_BODY_MAX_BYTES = 1 * KiB;
/** Texts of admin metadata, such as a dataset's name: dtool's own names have 80 characters at most. */
export const ADMIN_TEXT_MAX_CHARACTERS = 255;
/** Registration keys of a bucket. A dataset that nobody looks into takes 2.2 KiB of memory: 220 MiB. */
export const REGISTRATIONS_MAX = 100_000;
/** Items of a dataset that is not frozen. Each costs a request at every look and 450 bytes of memory: 45 MiB. */
export const PROTO_ITEMS_MAX = 100_000;
/** What an item of such a dataset takes in memory (430 to 470 were measured). */
export const PROTO_ITEM_BYTES = 450;
/** A manifest is about 220 bytes an item: this is two million items. */
export const MANIFEST_MAX_BYTES = 512 * MiB;
/** Strings and numbers in a manifest: relpaths, which are longer than a path can be, and all that surrounds them. */
export const MANIFEST_TEXT_MAX_BYTES = 64 * KiB;
/** Items of one dataset, those that are broken or there twice included: as many as the shortest manifest of its size has. */
export const MANIFEST_ITEMS_MAX = 5_000_000;
/** Directories that the items of one dataset make: a relpath of 4 KiB makes 2,000, which take 14 bytes each. */
export const MANIFEST_DIRECTORIES_MAX = 4_000_000;
/** A manifest in memory is looked at in pieces of this size. */
export const MANIFEST_CHUNK_BYTES = 4 * MiB;
/** Up to this size a manifest comes with one request; a larger one in parts, two of them in memory. */
export const MANIFEST_WHOLE_MAX_BYTES = 32 * MiB;
export const MANIFEST_PART_BYTES = 16 * MiB;
/** Up to this size (500 items, some milliseconds) it is read where it came in, above that in a thread. */
export const MANIFEST_SMALL_BYTES = 128 * KiB;
/** Manifests that are read in threads at once. */
export const MANIFEST_THREADS_MAX = 2;
/**
 * What the items of all datasets of a mount may take, about 100 bytes each: one of so many parts of the memory for
 * blocks. Those used last go on being kept, and the last one always.
 */
export const ITEMS_CACHE_PARTS = 2;
/** Frozen datasets of a bucket whose admin metadata is asked for again at a refresh, the next ones at the next. */
export const RECHECKS_MAX = 256;
/** What is known of buckets (lists of datasets, manifests) may take this much on disk, over all mounts. */
export const METADATA_CACHE_MAX_BYTES = 1 * GiB;
/** What is new of it is written after so long, when those have got on who needed it; a process that is killed before loses it. */
export const METADATA_WRITE_AFTER_MS = 200;
/** Datasets of a bucket, or items of a proto dataset, that are being read at once. */
export const LISTING_READS_MAX = 256;
/** Objects at the top of a dataset, and tags, annotations and overlays of each kind; more are not listed. */
export const DATASET_METADATA_OBJECTS_MAX = 100_000;

/** The most that S3 takes with one PUT (Amazon S3 user guide, "Uploading objects"). */
export const SINGLE_PUT_MAX_BYTES = 5 * GiB;
/** The largest object of S3, and the parts that it is made of (Amazon S3 user guide, "Multipart upload limits"). */
export const OBJECT_MAX_BYTES = 5 * TiB;
export const UPLOAD_PARTS_MAX = 10_000;
/** The parts of a large object; larger ones where there would be too many. */
export const UPLOAD_PART_BYTES = 64 * MiB;
/** Parts of one object that are uploaded at once. */
export const UPLOAD_PARTS_AT_ONCE_MAX = 8;
/** Items of one dataset that is frozen: as many as a manifest of {@link MANIFEST_MAX_BYTES} describes. */
export const FREEZE_ITEMS_MAX = 2_000_000;
/** Objects of a freeze that are uploaded at once, and files that are looked at at once. */
export const FREEZE_UPLOADS_MAX = 24;
export const FREEZE_FILE_CHECKS_MAX = 32;
/** Directories that a freeze keeps open when it does not read from them at the moment. */
export const CONTAINED_DIRECTORIES_MAX = 128;
/** Files up to this size are read into memory, hashed there and sent; larger ones are hashed in a thread, then streamed. */
export const FREEZE_BUFFERED_MAX_BYTES = 1 * MiB;
/** Bytes of a file that are read at a time. */
export const FREEZE_READ_BYTES = 1 * MiB;
/** What a freeze takes for the content that it sends: two pieces of each file. */
export const FREEZE_MEMORY_BYTES = 2 * FREEZE_READ_BYTES * FREEZE_UPLOADS_MAX;
/** Threads that hash files. */
export const FREEZE_HASH_THREADS_MAX = 2;
/** Staged files are hashed beforehand when nobody has written to them for so long, which is more than a tick of ctime. */
export const REMEMBERED_MD5_MIN_AGE_MS = 1_000;
/** Files that wait to be hashed beforehand, and MD5s that are remembered. */
export const REMEMBERED_MD5_WAITING_MAX = 10_000;
export const REMEMBERED_MD5S_MAX = 50_000;
/** An overlay or annotation of a dataset that is frozen; larger ones are refused. */
export const FREEZE_METADATA_MAX_BYTES = 32 * MiB;
/** Keys of a dataset that is discarded which are held in memory at a time. */
export const DISCARD_KEYS_PER_BATCH = 1_000;
/** Reasons for refusing a freeze that are told one by one; the others are counted. */
export const FREEZE_PROBLEMS_MAX = 1_000;
/** Of these, so many that the log has. */
export const FREEZE_PROBLEMS_LOGGED_MAX = 10;

/** Buffers that are kept for writes to staged files: as many as the kernel's longest requests that wait at once. */
export const LOCAL_WRITE_BUFFERS_MAX = 8;
/** A call to the local disk that takes longer sends the following ones to the thread pool, for so many times as long. */
export const LOCAL_QUICK_MS = 10;
export const LOCAL_QUICK_AGAIN_TIMES = 20;
/** Writes and removals of more than this always go there. */
export const LOCAL_QUICK_BYTES = 16 * KiB;
/** Room on disk that a staging area takes beforehand for the marks of files that failed, 32 bytes each. */
export const FAILED_FILES_ROOM_BYTES = 64 * KiB;
/** Directories deep in the staging area that are kept open, as the ways to what is below them are too long for a path. */
export const LOCAL_DEEP_DIRECTORIES_MAX = 64;
/** Bytes of the longest path that a system call takes: PATH_MAX, less the NUL. */
export const LOCAL_PATH_MAX_BYTES = 4095;
/** Staged nodes that know their attributes; all others ask the local disk again. */
export const LOCAL_ATTRIBUTES_MAX = 1024;
/** Files of a staged directory that are looked at at once, so that others get their turn. */
export const LOCAL_LISTING_CHECKS_MAX = 32;
/** How long rename(2) of a staged folder onto the root waits for its freeze: nobody can list the root meanwhile. */
export const FREEZE_RENAME_WAIT_MS = 5_000;

/** The longest name in a directory, in bytes of UTF-8 (Linux NAME_MAX). */
export const NAME_MAX_BYTES = 255;
/** The longest path that a system call takes, in bytes of UTF-8 (Linux PATH_MAX without its NUL). */
export const PATH_MAX_BYTES = 4_095;
/** How long a file operation waits for a list that is being refreshed before it takes the one it has. */
export const REFRESH_WAIT_MS = 2_000;

/** Open files and directories of a mount at once, of all users; one has half of what the others leave. */
export const HANDLES_MAX = 65_536;
/**
 * Descriptors that staged files of users leave to the mount, or half of those that it may have where these are few: for 32
 * connections, 24 uploads, 32 files that are looked at, 256 lists that are read, and all else that it opens.
 */
export const DESCRIPTORS_RESERVED = 512;

/** The most that the kernel reads or writes with one request (its MAX_PAGES is 256 pages of 4 KiB). */
export const KERNEL_REQUEST_MAX_BYTES = 1 * MiB;
/** Requests of the kernel's own (read-ahead above all) under way at once. */
export const KERNEL_BACKGROUND_REQUESTS_MAX = 64;
/**
 * How long the event loop stays awake after a request, when that came no later after the one before than the pause: each
 * a few times what it takes to wake a process on a virtual machine, some 25 to 65 us.
 */
export const AWAKE_AFTER_REPLY_MS = 0.1;
export const AWAKE_PAUSE_MAX_MS = 0.25;
/**
 * The kernel's read-ahead per open file, where the system allows to set it: two blocks. Each request of the kernel's costs
 * us the same however long it is (a GiB takes 14 % less of the processor than with one block, 22 % with four), but a page
 * that a mapping has not yet is read with as much around it, and replies that are long wait for all their blocks. What is
 * far ahead is the block cache's to fetch.
 */
export const KERNEL_READ_AHEAD_BYTES = 2 * BLOCK_BYTES;
/** How long the kernel keeps what never changes. */
export const KERNEL_CACHE_SECONDS = 86_400;
/** How long the kernel believes that a name is missing where names can appear. */
export const KERNEL_NEGATIVE_SECONDS = 1;
/**
 * How long the kernel believes at most what the next refresh may change. It adds to the age of what the tree knows, and
 * asking again costs microseconds.
 */
export const KERNEL_CHANGING_SECONDS_MAX = 5;
/** Notifications to the kernel that wait their turn; a refresh of a large bucket may have so many at once. */
export const KERNEL_NOTIFICATIONS_MAX = 10_000;
/** The kernel keeps the listing of a frozen directory up to this size; it has no attributes, which a long `ls -l` needs. */
export const KERNEL_CACHED_LISTING_ENTRIES_MAX = 256;
/**
 * A caller that has been sent a signal, and waits on, is looked at again after the first pause; the pauses double up to the
 * other: SIGKILL then takes so long at most. So many callers are looked at at once.
 */
export const CALLER_LOOK_MIN_MS = 20;
export const CALLER_LOOK_MAX_MS = 250;
export const CALLER_LOOKS_AT_ONCE_MAX = 8;
/** A caller that the mount can't see waits so long after a signal: a call that takes longer is EINTR. */
export const UNKNOWN_CALLER_WAIT_MS = 10_000;
/** mount(8), umount(8) and fusermount3 are given this long. */
export const MOUNT_COMMAND_TIMEOUT_MS = 30_000;

/** A signature is used again for the same object for this long; stores accept one for 15 minutes. */
export const SIGNATURE_KEEP_MS = 60_000;
export const SIGNATURES_MAX = 1_024;

/** Credentials are taken from the configuration again after this time, or when the store refuses them. */
export const CREDENTIALS_KEEP_MS = 10_000;
/** A request whose credentials the store refuses waits so long for the configuration, which may lie on a file system that hangs. */
export const CREDENTIALS_LOOK_MS = 2_000;

/** How long a mount waits for the store to say whether a bucket has a dataset that a staging area remembers. */
export const AREA_LOOK_MS = 5_000;

/** Pauses before a bucket that could not be used at the start of a mount is tried again: the first, doubled each time, and the longest. */
export const ABSENT_BUCKET_PAUSE_FIRST_MS = 1_000;
export const ABSENT_BUCKET_PAUSE_MAX_MS = 60_000;

/** A message between a command and a mount, and how long a command waits for its answer. */
export const CONTROL_MESSAGE_MAX_BYTES = 16 * MiB;
export const CONTROL_TIMEOUT_MS = 30_000;
/** How often a mount tells a command how far its work is. */
export const CONTROL_PROGRESS_INTERVAL_MS = 100;
/** How often `stats` may look. */
export const STATS_INTERVAL_MIN_SECONDS = 0.1;
export const STATS_INTERVAL_MAX_SECONDS = 86_400;
/** Connections at once for metrics, and the time that a request there may take to arrive. */
export const METRICS_CONNECTIONS_MAX = 16;
export const METRICS_REQUEST_TIMEOUT_MS = 30_000;
/**
 * A mount that answers nothing for so long hangs: for `doctor`, which asks so many at once, and for who takes a mount away
 * whose process was killed.
 */
export const MOUNT_ANSWER_WAIT_MS = 5_000;
export const MOUNTS_ASKED_AT_ONCE_MAX = 16;
/** Lines that wait for the log to take them, and how long the end of a mount waits for the last. */
export const LOG_WAITING_MAX_BYTES = 1 * MiB;
export const LOG_FLUSH_MAX_MS = 1_000;
/** A log file that is larger than this when a mount starts makes room for a new one. */
export const LOG_FILE_MAX_BYTES = 16 * MiB;
/** Problems of one kind in one dataset, or with registrations, that are told one by one; the others are counted. */
export const PROBLEMS_TOLD_MAX = 100;
/** Problems that a mount remembers for `status`; the log has them all. */
export const PROBLEMS_MAX = 1_000;

/**
 * How long a store may take to answer when it has received all of a request.
 *
 * @param workBytes what it may have to pass on or put together first
 * @param silenceMs what it may take where there is nothing to do
 */
export function answerTimeoutMs(workBytes: number, silenceMs = REQUEST_TIMEOUT_MS): number {
  const workMs = (workBytes / STORE_WORK_MIN_BYTES_PER_SECOND) * 1_000;
  return Math.max(silenceMs, Math.min(silenceMs + workMs, ANSWER_TIMEOUT_MAX_MS));
}

assert(answerTimeoutMs(SINGLE_PUT_MAX_BYTES) < ANSWER_TIMEOUT_MAX_MS);
assert(RANGED_GET_MAX_BYTES % BLOCK_BYTES === 0);
assert(READ_AHEAD_MIN_BYTES >= BLOCK_BYTES && READ_AHEAD_MAX_BYTES >= READ_AHEAD_MIN_BYTES);
// Most of the memory for blocks is for those that were read.
assert(1 / READ_AHEAD_CACHE_PARTS + 1 / DISK_QUEUE_CACHE_PARTS < 1 / 2);
assert(STORE_REQUESTS_RESERVED < STORE_REQUESTS_MAX);
assert(OBJECT_MAX_BYTES <= UPLOAD_PARTS_MAX * SINGLE_PUT_MAX_BYTES);
assert(PROBLEMS_TOLD_MAX < PROBLEMS_MAX);
assert(RETRY_DELAY_MIN_MS < RETRY_DELAY_MAX_MS);
assert(SHORT_TRIES_MAX < STORE_TRIES_MAX);
assert(DISK_WRITE_GRANT_PART * DISK_WRITERS_MAX <= 1 - DISK_TRIM_ABOVE_PART);
assert(DISK_TRIM_TO_PART < DISK_TRIM_ABOVE_PART);
assert(DISK_EXTENT_BLOCKS * BLOCK_BYTES >= RANGED_GET_MAX_BYTES);
assert(CACHE_COMMAND_RUN_BYTES <= RANGED_GET_MAX_BYTES);
assert(VERIFY_ITEMS_MAX * (VERIFY_RUNS_AHEAD + 1) * CACHE_COMMAND_RUN_BYTES <= CACHE_COMMAND_MEMORY_BYTES);
