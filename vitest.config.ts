import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/own-folders.ts', 'test/support/compiled.ts'],
    // However busy the machine is.
    testTimeout: 400_000,
    hookTimeout: 400_000,
    // onnxruntime and libllama use every core themselves, and native libraries want a process each.
    pool: 'forks',
    maxWorkers: 2,
  },
})
