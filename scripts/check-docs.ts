/**
 * Runs every command of the documentation: all ```sh blocks of README.md and CONTRIBUTING.md, each in a folder where
 * `model-f16.gguf` is the model that ships and `text.txt` its held-out text. `npm ci` is left out (it has just run), and
 * long times are cut short. A block that fails, or a documented file that is not there, fails the check.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'quench-docs-'))
symlinkSync(join(root, 'models/quench-5m-f16.gguf'), join(folder, 'model-f16.gguf'))
symlinkSync(join(root, 'models/quench-5m.test.txt'), join(folder, 'text.txt'))
for (const name of [
  'node_modules',
  'models',
  'scripts',
  'src',
  'test',
  'bench',
  'package.json',
  'vitest.config.ts',
])
  symlinkSync(join(root, name), join(folder, name))

const shorten = (block: string): string =>
  block
    .replace(/npm ci && npm test\n?/g, '')
    .replace(/npm ci && /g, '')
    .replace(/npx quench/g, `node ${join(root, 'dist/cli/main.js')}`)
    .replace(/--time \d+[smh]/g, '--time 10s')

let failed = 0
let ran = 0
try {
  for (const file of ['README.md', 'CONTRIBUTING.md']) {
    const text = readFileSync(join(root, file), 'utf8')
    for (const [, block] of text.matchAll(/```sh\n([\s\S]*?)```/g)) {
      const commands = shorten(block)
      if (commands.trim() === '') continue
      ran++
      console.log(`${file}: ${block.trim()}`)
      try {
        execFileSync('bash', ['-euo', 'pipefail', '-c', commands], {
          cwd: folder,
          stdio: ['ignore', 'ignore', 'inherit'],
        })
      } catch (error) {
        failed++
        console.error(`failed: ${error instanceof Error ? error.message : error}`)
      }
    }
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      try {
        readFileSync(join(root, link))
      } catch {
        failed++
        console.error(`${file}: the link to ${link} leads nowhere`)
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${ran} blocks of commands, ${failed} failures`)
process.exitCode = failed === 0 ? 0 : 1
