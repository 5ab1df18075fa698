import { describe, expect, test } from 'vitest';
import { SharedTask } from '../src/shared-task.ts';

/** A task that ends when it is told to, and what became of its signal. */
function taskUnderControl() {
  let settle: { resolve(value: string): void; reject(error: unknown): void } | undefined;
  const promise = new Promise<string>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const result = {
    resolve: (value: string) => settle?.resolve(value),
    reject: (error: unknown) => settle?.reject(error),
  };
  let signal: AbortSignal | undefined;
  const task = new SharedTask(async (taskSignal) => {
    signal = taskSignal;
    taskSignal.addEventListener('abort', () => result.reject(taskSignal.reason));
    return promise;
  });
  return { task, result, aborted: () => signal?.aborted };
}

const never = new AbortController().signal;

describe('a shared task', () => {
  test('gives everybody its result', async () => {
    const { task, result, aborted } = taskUnderControl();
    const waiting = [task.wait(never), task.wait(never)];
    result.resolve('done');
    expect(await Promise.all(waiting)).toEqual(['done', 'done']);
    expect(await task.wait(never)).toBe('done');
    expect(aborted()).toBe(false);
    expect(task.abandoned).toBe(false);
  });

  test('gives everybody its error, and is silent when nobody waits', async () => {
    const { task, result } = taskUnderControl();
    const waiting = task.wait(never);
    result.reject(new Error('broken'));
    await expect(waiting).rejects.toThrow('broken');
    await expect(task.wait(never)).rejects.toThrow('broken');
    const unheard = new SharedTask(async () => {
      throw new Error('nobody hears this');
    });
    expect(unheard.abandoned).toBe(false);
  });

  test('goes on when one of several gives up, and is cancelled when the last one does', async () => {
    const { task, aborted } = taskUnderControl();
    const [first, second] = [new AbortController(), new AbortController()];
    const waiting = [task.wait(first.signal), task.wait(second.signal)];
    first.abort(new Error('first leaves'));
    await expect(waiting[0]).rejects.toThrow('first leaves');
    expect(aborted()).toBe(false);
    second.abort(new Error('second leaves'));
    await expect(waiting[1]).rejects.toThrow('second leaves');
    expect(aborted()).toBe(true);
    expect(task.abandoned).toBe(true);
  });

  test('is cancelled when the only one who wanted it had given up beforehand', async () => {
    const { task, aborted } = taskUnderControl();
    await expect(task.wait(AbortSignal.abort(new Error('too late')))).rejects.toThrow('too late');
    expect(aborted()).toBe(true);
  });

  test('is not cancelled by one who comes with an aborted signal while others wait', async () => {
    const { task, result, aborted } = taskUnderControl();
    const waiting = task.wait(never);
    await expect(task.wait(AbortSignal.abort())).rejects.toThrow();
    expect(aborted()).toBe(false);
    result.resolve('done');
    expect(await waiting).toBe('done');
  });

  test('leaves no listener behind in a signal that outlives it', async () => {
    let listeners = 0;
    const { signal } = new AbortController();
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    const { task, result } = taskUnderControl();
    const waiting = Promise.all([task.wait(signal), task.wait(signal)]);
    expect(listeners).toBe(2);
    result.resolve('done');
    await waiting;
    expect(listeners).toBe(0);
  });

  test('runs for those who wait for a part of it, until they have it', async () => {
    const { task, result } = taskUnderControl();
    let land: (part: string) => void = () => {};
    const part = new Promise<string>((resolve) => {
      land = resolve;
    });
    const stop = new AbortController();
    const waiting = task.wait(stop.signal);
    const having = task.waitFor(part, never);
    stop.abort();
    await expect(waiting).rejects.toThrow('aborted');
    expect(task.abandoned).toBe(false);
    land('part');
    expect(await having).toBe('part');
    expect(task.abandoned).toBe(true);
    result.resolve('done');
  });

  test('may hand its signal to any number of requests', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): number => warnings.push(warning);
    process.on('warning', listen);
    const task = new SharedTask(async (signal) => {
      for (let index = 0; index < 50; index += 1) signal.addEventListener('abort', () => {});
    });
    await task.wait(never);
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    process.off('warning', listen);
    expect(warnings).toEqual([]);
  });
});
