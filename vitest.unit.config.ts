/** The unit tests alone: they share processes, so they take seconds. */

export default {
  test: {
    include: ['test/unit/**/*.test.ts'],
    globalSetup: ['test/support/own-folders.ts', 'test/support/compiled.ts'],
    // However busy the machine is.
    testTimeout: 400_000,
    hookTimeout: 400_000,
    pool: 'forks' as const,
    isolate: false,
    maxWorkers: 2,
  },
}
