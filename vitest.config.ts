import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import unit from './vitest.unit.config.js'

const { globalSetup, ...unitTests } = unit.test

export default defineConfig({
  test: {
    globalSetup,
    // One more than cores: tests of commands wait for processes, files and signals a part of the time.
    maxWorkers: Math.min(4, availableParallelism() + 1),
    projects: [
      // Groups take their turns, each with workers of its own number.
      { test: { ...unitTests, name: 'unit', sequence: { groupOrder: 1 } } },
      {
        test: {
          name: 'native',
          include: ['test/{oracle,e2e}/**/*.test.ts'],
          setupFiles: ['test/support/shortcuts.ts'],
          testTimeout: unitTests.testTimeout,
          hookTimeout: unitTests.hookTimeout,
          // Native libraries want a process each.
          pool: 'forks',
          // Models of tests are so small that threads only wait for each other. Files that test several set another number.
          env: { QUENCH_THREADS: '1' },
        },
      },
    ],
  },
})
