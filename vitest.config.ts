import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real mounts and servers share two cores with other work: the limit catches a hang, it is no measurement.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
