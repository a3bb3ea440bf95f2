/**
 * Packs the package, installs it into an empty folder with only its dependencies and without install scripts, and uses it
 * there: the command and the public API from a module, through all entry points.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'quench-package-'))
const run = (command: string, args: string[], cwd: string): string =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
try {
  run('npm', ['pack', '--silent', '--pack-destination', folder], root)
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) as string
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n')
  run(
    'npm',
    ['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', join(folder, tarball)],
    folder,
  )

  const model = join(folder, 'node_modules/quench/models/quench-5m-f16.gguf')
  const quench = (...args: string[]): string => run('npx', ['quench', ...args], folder)
  JSON.parse(quench('inspect', model, '--json'))
  quench('quantize', model, 'Q4_0', '-o', 'ptq.gguf')
  const little = ['--steps', '1', '--tokens', '512', '--calibration', '512', '--validation', '512']
  quench('train', model, '--type', 'Q4_0', '-o', 'qat.gguf', ...little)
  writeFileSync(
    join(folder, 'use.js'),
    `import { inspectFile } from 'quench'\nconsole.log((await inspectFile(${JSON.stringify(model)})).architecture)\n`,
  )
  if (run('node', ['use.js'], folder).trim() !== 'llama')
    throw new Error('the public interface gave another answer')
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: object }
  for (const part of Object.keys(exports).filter((name) => !name.endsWith('.json')))
    run('node', ['--input-type=module', '-e', `import 'quench${part.slice(1)}'`], folder)
  console.log('the packed package works in an empty folder')
} finally {
  rmSync(folder, { recursive: true, force: true })
}
