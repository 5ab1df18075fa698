import type { Worker } from 'node:worker_threads';
import type { DiskContent } from './disk-slot.ts';
import type { DiskTasks, DiskUsage, Presence, Verdict } from './disk-tasks.ts';
import { ThreadProgram } from '../thread-program.ts';

/** What the thread is asked. */
export type DiskRequest = { readonly directory: string } & (
  | { readonly task: 'trim'; readonly maxBytes: number }
  | { readonly task: 'verify'; readonly content: DiskContent; readonly again: boolean }
  | { readonly task: 'present' | 'evict'; readonly contents: readonly DiskContent[] }
);

/** What it answers. */
export type DiskReply = { readonly id: number } & ({ readonly result: unknown } | { readonly error: string });

interface Waiter {
  readonly thread: Worker;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

const THREAD = new ThreadProgram('disk-thread', import.meta.url);

/**
 * Does them in two threads, which are started when they are first needed: one for what takes as long as a content is
 * large, at low priority, and one for the rest, which writers wait for.
 */
export class ThreadedDiskTasks implements DiskTasks {
  readonly #waiters = new Map<number, Waiter>();
  readonly #threads = new Map<'hash' | 'files', Worker>();
  #nextId = 0;
  #isClosed = false;

  async trim(directory: string, maxBytes: number): Promise<DiskUsage> {
    return this.#ask('files', { task: 'trim', directory, maxBytes });
  }

  async verify(directory: string, content: DiskContent, again = false): Promise<Verdict> {
    return this.#ask('hash', { task: 'verify', directory, content, again });
  }

  async present(directory: string, contents: readonly DiskContent[]): Promise<readonly Presence[]> {
    return this.#ask('files', { task: 'present', directory, contents });
  }

  async evict(directory: string, contents: readonly DiskContent[]): Promise<void> {
    return this.#ask('files', { task: 'evict', directory, contents });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#threads.values(), (thread) => thread.terminate()));
    for (const { reject } of this.#waiters.values()) reject(new Error('the cache was closed'));
    this.#waiters.clear();
  }

  async #ask<T>(name: 'hash' | 'files', request: DiskRequest): Promise<T> {
    if (this.#isClosed) throw new Error('the cache was closed');
    const thread = this.#threads.get(name) ?? this.#start(name);
    const id = (this.#nextId += 1);
    return new Promise<T>((resolve, reject) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the thread answers as the task does
      this.#waiters.set(id, { thread, resolve: (result) => resolve(result as T), reject });
      // Who waits keeps the process alive, and nobody else does.
      thread.ref();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has none
      thread.postMessage({ id, request });
    });
  }

  #start(name: 'hash' | 'files'): Worker {
    const thread = THREAD.start({
      name: `cache-${name}`,
      workerData: { lowPriority: name === 'hash' },
    });
    thread.on('message', (reply: DiskReply) => {
      const waiter = this.#waiters.get(reply.id);
      this.#waiters.delete(reply.id);
      if ('error' in reply) waiter?.reject(new Error(reply.error));
      else waiter?.resolve(reply.result);
      if (![...this.#waiters.values()].some((other) => other.thread === thread)) thread.unref();
    });
    thread.on('error', (error: Error) => {
      this.#threads.delete(name);
      for (const [id, waiter] of this.#waiters) {
        if (waiter.thread !== thread) continue;
        this.#waiters.delete(id);
        waiter.reject(error);
      }
    });
    this.#threads.set(name, thread);
    return thread;
  }
}
