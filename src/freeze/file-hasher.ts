import type { FileHandle } from 'node:fs/promises';
import type { Worker } from 'node:worker_threads';
import PQueue from 'p-queue';
import { messageOf, UserError } from '../errors.ts';
import { FREEZE_HASH_THREADS_MAX } from '../limits.ts';
import { ThreadProgram } from '../thread-program.ts';

/** A file, and how it is opened to be read. */
export interface OpenableFile {
  /** Absolute: for messages, and to tell files apart. */
  readonly path: string;
  /** Opens the file, and nothing that is elsewhere, whatever the path leads to by now. */
  readonly open: () => Promise<FileHandle>;
}

/** What the thread is asked: the MD5s of a file and of its parts, or of the file alone. */
export interface HashRequest {
  /** Open to read; the thread leaves it open. */
  readonly fd: number;
  /** Bytes of every part but the last; undefined: no parts. */
  readonly partBytes: number | undefined;
}

/** What the thread answers with. */
export type HashReply = PartedMd5 | { readonly error: string };

/** The MD5s of a file and of its parts, found in one pass: the parts together are what the whole is the MD5 of. */
export interface PartedMd5 {
  /** In hex. */
  readonly md5: string;
  /** The MD5s of the parts one after the other, 16 bytes each. */
  readonly partMd5s: Uint8Array;
}

/** Finds the MD5 of whole files, however large, without holding up the event loop. */
export interface FileHasher {
  /**
   * @returns the digest in hex
   * @throws UserError when the file can't be read, or the signal's reason
   */
  md5(file: OpenableFile, signal: AbortSignal): Promise<string>;
  /**
   * @param partBytes of every part but the last, 1 or more
   * @throws as `md5`
   */
  md5OfParts(file: OpenableFile, partBytes: number, signal: AbortSignal): Promise<PartedMd5>;
  /** Ends the threads; whoever still waits is not answered. */
  close(): Promise<void>;
}

const THREAD = new ThreadProgram('hash-thread', import.meta.url);

/** Hashes in threads, which are started when they are first needed. */
export class ThreadedFileHasher implements FileHasher {
  readonly #queue = new PQueue({ concurrency: FREEZE_HASH_THREADS_MAX });
  readonly #threads = new Set<Worker>();
  readonly #idle: Worker[] = [];

  async md5(file: OpenableFile, signal: AbortSignal): Promise<string> {
    const { md5 } = await this.#hash(file, undefined, signal);
    return md5;
  }

  async md5OfParts(file: OpenableFile, partBytes: number, signal: AbortSignal): Promise<PartedMd5> {
    return this.#hash(file, partBytes, signal);
  }

  async close(): Promise<void> {
    const threads = [...this.#threads];
    this.#queue.clear();
    this.#threads.clear();
    this.#idle.length = 0;
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  async #hash(file: OpenableFile, partBytes: number | undefined, signal: AbortSignal): Promise<PartedMd5> {
    return this.#queue.add(async () => this.#askThread(file, partBytes, signal), { signal });
  }

  async #askThread(
    file: OpenableFile,
    partBytes: number | undefined,
    signal: AbortSignal,
  ): Promise<PartedMd5> {
    signal.throwIfAborted();
    // Open until the thread has answered or has ended. Threads have the descriptors of the process.
    await using handle = await file.open().catch((cause: unknown) => {
      throw new UserError(`${file.path} can't be read: ${messageOf(cause)}`, undefined, { cause });
    });
    signal.throwIfAborted();
    const thread = this.#idle.pop() ?? this.#start();
    try {
      const reply = await ask(thread, { fd: handle.fd, partBytes }, signal);
      this.#idle.push(thread);
      if ('error' in reply) throw new UserError(`${file.path} can't be read: ${reply.error}`);
      return reply;
    } catch (error) {
      // In the middle of a large file it would answer the next question with this one's digest.
      if (!this.#idle.includes(thread)) {
        this.#threads.delete(thread);
        await thread.terminate();
      }
      throw error;
    }
  }

  #start(): Worker {
    const thread = THREAD.start({ name: 'freeze-hash' });
    this.#threads.add(thread);
    return thread;
  }
}

function ask(thread: Worker, request: HashRequest, signal: AbortSignal): Promise<HashReply> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      thread.off('message', onMessage);
      thread.off('error', onError);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onMessage = (reply: HashReply): void => settle(() => resolve(reply));
    const onError = (error: unknown): void => settle(() => reject(error));
    const onAbort = (): void => settle(() => reject(signal.reason));
    thread.once('message', onMessage);
    thread.once('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
    thread.postMessage(request);
  });
}
