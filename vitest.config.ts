import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/setup.ts'],
    // Real mounts and servers share two cores with other work: the limit catches a hang, it is no measurement.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
    // Most tests wait for other processes: two files at once keep two cores busy.
    maxWorkers: 2,
  },
});
