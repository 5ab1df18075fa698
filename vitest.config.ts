import { defineConfig } from 'vitest/config';

/**
 * Tests that count all requests of a mount. They come last, beside nothing but each other: others ask every mount of the
 * machine for its size, as `doctor` does, and a mount then reads manifests.
 */
const COUNTING = ['large', 'requests', 'known-bucket', 'disk-cache'].map(
  (name) => `test/e2e/${name}.test.ts`,
);

export default defineConfig({
  test: {
    setupFiles: ['test/support/setup.ts'],
    // Real mounts and servers share two cores with other work: the limit catches a hang, it is no measurement.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
    // Most tests wait for other processes: two files at once keep two cores busy.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: { name: 'all', include: ['test/**/*.test.ts'], exclude: COUNTING, sequence: { groupOrder: 0 } },
      },
      { extends: true, test: { name: 'counting', include: COUNTING, sequence: { groupOrder: 1 } } },
    ],
  },
});
