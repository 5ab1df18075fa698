import { Worker } from 'node:worker_threads';
import PQueue from 'p-queue';
import { UserError } from '../errors.ts';
import { FREEZE_HASH_THREADS_MAX } from '../limits.ts';

/** What the thread answers with. */
export type HashReply = { readonly md5: string } | { readonly error: string };

/** Finds the MD5 of whole files, however large, without holding up the event loop. */
export interface FileHasher {
  /**
   * @returns the digest in hex
   * @throws UserError when the file can't be read, or the signal's reason
   */
  md5(path: string, signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

/** The thread's file beside this one, compiled or not. */
const THREAD = new URL(`./hash-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

/** Hashes in threads, which are started when they are first needed. */
export class ThreadedFileHasher implements FileHasher {
  readonly #queue = new PQueue({ concurrency: FREEZE_HASH_THREADS_MAX });
  readonly #threads = new Set<Worker>();
  readonly #idle: Worker[] = [];

  async md5(path: string, signal: AbortSignal): Promise<string> {
    return this.#queue.add(async () => this.#hash(path, signal), { signal });
  }

  async close(): Promise<void> {
    this.#queue.clear();
    await Promise.all(Array.from(this.#threads, (thread) => thread.terminate()));
  }

  async #hash(path: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const thread = this.#idle.pop() ?? this.#start();
    try {
      const reply = await ask(thread, path, signal);
      this.#idle.push(thread);
      if ('error' in reply) throw new UserError(`${path} can't be read: ${reply.error}`);
      return reply.md5;
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
    const thread = new Worker(THREAD, { name: 'freeze-hash' });
    this.#threads.add(thread);
    return thread;
  }
}

function ask(thread: Worker, path: string, signal: AbortSignal): Promise<HashReply> {
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
    thread.postMessage(path);
  });
}
