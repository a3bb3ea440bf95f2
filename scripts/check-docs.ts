/**
 * Runs every command of the documentation: all ```sh blocks of its pages, by a copy of the package in which the model has one block and
 * the texts are short, each in a folder where `model-f16.gguf` is that model, `text.txt` a part of its held-out text and
 * `Llama-3.2-1B` a checkpoint. `org/model` and `org/model-GGUF` are repositories of a Hub of its own, and the home folder has that of LM
 * Studio. `npm ci` is skipped (it has just run), training takes seconds, and comparisons few tokens.
 * Compiles all ```ts blocks against the sources. A ```text block behind commands is what they print, or the beginning of it. A block that
 * fails or prints something else, or a link to a missing file, fails the check.
 *
 *   npx tsx scripts/check-docs.ts [--write] [PAGE ...]     --write puts what is printed into the ```text blocks, as far as they reach
 */
import { execFile, execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { writeCheckpoint } from '../test/support/checkpoints.js'
import { openHub } from '../test/support/hub-server.js'
import { writeShortTexts } from '../test/support/short-texts.js'
import { byteLevelBpe } from '../test/support/tokenizer-files.js'
import { firstBlocks } from '../test/support/with-metadata.js'

const root = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'quench-docs-'))
const shipped = await littlePackage(join(folder, 'package'))
symlinkSync(shipped.model, join(folder, 'model-f16.gguf'))
const heldOut = readFileSync(join(root, 'models/quench-5m.test.txt'), 'utf8')
writeFileSync(join(folder, 'text.txt'), heldOut.slice(0, 40_000))
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

const model = readFileSync(shipped.model)
const words = heldOut.slice(0, 20_000)
const checkpoint = join(folder, 'Llama-3.2-1B')
writeCheckpoint(checkpoint, { family: 'llama', tokenizer: byteLevelBpe(words, 'llama-bpe') })
const files = Object.fromEntries(
  readdirSync(checkpoint).map((name) => [name, readFileSync(join(checkpoint, name))]),
)
const small = Object.keys(files).filter((name) => !name.endsWith('.safetensors'))
const hub = await openHub()
hub.repositories.set('org/model', { files, small })
hub.repositories.set('org/model-GGUF', { files: { 'model-Q8_0.gguf': model } })
const env = {
  ...process.env,
  HF_ENDPOINT: hub.endpoint,
  HF_HOME: join(folder, 'hf'),
  HF_TOKEN: '',
  HOME: join(folder, 'home'),
  QUENCH_CACHE: join(folder, 'cache'),
  BROWSER: 'true',
}
mkdirSync(join(env.HOME, '.lmstudio'), { recursive: true })
const run = promisify(execFile)

/** What a failed command printed too, since its error says only which it was. */
const messageOf = (error: unknown): string =>
  error instanceof Error ? `${error.message}${'stdout' in error ? String(error.stdout) : ''}` : String(error)

const shorten = (block: string): string =>
  block
    .replace(/npm ci && npm test\n?/g, '')
    .replace(/npm ci && /g, '')
    .replace(/npx quench/g, `node ${shipped.command}`)
    .replace(/--time \d+[smh]/g, '--time 5s')
    .replace(/main\.js demo/g, '$& --time 5s --tokens 2048')
    .replace(/--target-bits/g, '--tokens 1024 --candidates 6 $&')
    .replace(/main\.js compare/g, '$& --tokens 2048 -r 2')

const { values, positionals } = parseArgs({
  options: { write: { type: 'boolean' } },
  allowPositionals: true,
})
const pages =
  positionals.length > 0
    ? positionals
    : [
        ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'],
        ...readdirSync(join(root, 'docs'))
          .filter((name) => name.endsWith('.md'))
          .map((name) => `docs/${name}`),
      ]

/** The package as it was built, with less in it. */
async function littlePackage(to: string): Promise<{ model: string; command: string }> {
  cpSync(join(root, 'dist'), join(to, 'dist'), { recursive: true })
  cpSync(join(root, 'models'), join(to, 'models'), { recursive: true })
  for (const name of ['package.json', 'node_modules', 'catalogue'])
    symlinkSync(join(root, name), join(to, name))
  await writeShortTexts(join(root, 'texts'), join(to, 'texts'))
  const model = join(to, 'models/quench-5m-f16.gguf')
  await firstBlocks(join(root, 'models/quench-5m-f16.gguf'), model, 1)
  const test = join(to, 'models/quench-5m.test.txt')
  writeFileSync(test, readFileSync(test, 'utf8').slice(0, 8000))
  return { model, command: join(to, 'dist/cli/main.js') }
}

/** As many paragraphs of an output as a page shows. */
const shownOf = (printed: string, shown: string): string => {
  const paragraphs = printed.trimEnd().split('\n\n')
  return `${paragraphs.slice(0, shown.trimEnd().split('\n\n').length).join('\n\n')}\n`
}

/** Compiles the programs of all pages, which import the package by its name. */
function compile(texts: ReadonlyMap<string, string>): void {
  // Within the checkout, so that types of packages are found.
  const own = mkdtempSync(join(root, '.docs-'))
  try {
    for (const [file, text] of texts)
      for (const [i, [, block]] of Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g)).entries()) {
        ran++
        writeFileSync(join(own, `${basename(file, '.md')}-${i}.ts`), block)
      }
    if (ran === 0) return
    const paths = { quench: [join(root, 'src/index.ts')] }
    const config = { extends: '../tsconfig.json', compilerOptions: { paths }, include: ['*.ts'] }
    writeFileSync(join(own, 'tsconfig.json'), JSON.stringify(config))
    execFileSync('npx', ['tsc', '--noEmit', '-p', own], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  } catch (error) {
    failed++
    console.error(error instanceof Error ? error.message : error)
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
}

let failed = 0
let ran = 0
try {
  const texts = new Map(pages.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
  compile(texts)
  for (const [file, text] of texts) {
    let corrected = text
    for (const [, block, shown] of text.matchAll(/```sh\n([\s\S]*?)```(?:\n\n```text\n([\s\S]*?)```)?/g)) {
      const commands = shorten(block)
      if (commands.trim() === '') continue
      ran++
      console.log(`${file}: ${block.trim()}`)
      const start = performance.now()
      try {
        const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', `exec 2>&1\n${commands}`], {
          ...{ cwd: folder, env, maxBuffer: 2 ** 26 },
        })
        const printed = shown === undefined ? undefined : shownOf(stdout, shown)
        if (printed === shown) continue
        if (values.write)
          corrected = corrected.replace(
            `${block}\`\`\`\n\n\`\`\`text\n${shown}`,
            () => `${block}\`\`\`\n\n\`\`\`text\n${printed}`,
          )
        else throw new Error(`it prints\n${printed}and the page shows\n${shown}`)
      } catch (error) {
        failed++
        console.error(`failed: ${messageOf(error)}`)
      } finally {
        console.log(`  ${((performance.now() - start) / 1000).toFixed(1)} s`)
      }
    }
    if (corrected !== text) writeFileSync(join(root, file), corrected)
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      try {
        readFileSync(join(root, dirname(file), link))
      } catch {
        failed++
        console.error(`${file}: the link to ${link} leads nowhere`)
      }
    }
  }
} finally {
  await hub.close()
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${ran} blocks, ${failed} failures`)
process.exitCode = failed === 0 ? 0 : 1
