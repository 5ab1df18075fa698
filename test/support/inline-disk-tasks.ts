import * as tasks from '../../src/cache/disk-tasks.ts';

/** Does at once what a thread does in the program: a thread can't be started from TypeScript. */
export const inlineDiskTasks: tasks.DiskTasks = {
  trim: async (directory, maxBytes) => tasks.trim(directory, maxBytes),
  verify: async (directory, content, again) => tasks.verify(directory, content, again),
  present: async (directory, contents) => tasks.present(directory, contents),
  evict: async (directory, contents) => tasks.evict(directory, contents),
  close: async () => {},
};
