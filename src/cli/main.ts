#!/usr/bin/env node
/**
 * The command: `program/run.ts`. Before that is loaded, the process for libllama starts if it will be needed, so that both load at the
 * same time.
 */
const [command, ...options] = process.argv.slice(2)
if (command === 'quantize' && !options.includes('--help') && !options.includes('-h')) {
  const { startNativeProcess } = await import('../llama/native-process.js')
  startNativeProcess()
}
await import('./program/run.js')
