import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/own-folders.ts', 'test/support/compiled.ts'],
    // However busy the machine is.
    testTimeout: 400_000,
    hookTimeout: 400_000,
    // Native libraries want a process each.
    pool: 'forks',
    maxWorkers: Math.min(4, Math.max(2, availableParallelism())),
    // Models of tests are so small that threads only wait for each other. Files that test several set another number.
    env: { QUENCH_THREADS: '1' },
  },
})
