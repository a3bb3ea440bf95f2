/**
 * Compares `evaluateChoices` with llama-perplexity on the same questions, as HellaSwag and as multiple choice: accuracy of
 * both.
 *
 *   npx tsx bench/choices.ts PATH_OF_LLAMA_PERPLEXITY QUESTIONS MODEL.gguf...
 *
 * QUESTIONS is a file in any format that quench reads; it is rewritten in llama-perplexity's two formats. Only the first 400
 * questions are used, and for HellaSwag only those with four choices.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { evaluateChoices, readChoices } from '../src/index.js'
import { binaryChoices } from '../test/support/choices.js'

const [tool, questions, ...models] = process.argv.slice(2)
if (!tool || !questions || models.length === 0)
  throw new Error('usage: npx tsx bench/choices.ts LLAMA_PERPLEXITY QUESTIONS MODEL.gguf...')
const folder = mkdtempSync(join(tmpdir(), 'quench-bench-'))
const { tasks } = await readChoices(questions)
const asked = tasks.filter(({ choices }) => choices.length === 4).slice(0, 400)

function theirs(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (status !== 0) throw new Error(`llama-perplexity ${args.join(' ')}: ${stderr}`)
  return stdout + stderr
}

try {
  const hellaswag = join(folder, 'questions.txt')
  const line = (text: string): string => text.replaceAll('\n', ' ')
  const lines = asked.flatMap(({ context, choices, right }) => [
    line(context),
    String(right[0]),
    ...choices.map(line),
  ])
  writeFileSync(hellaswag, lines.map((text) => `${text}\n`).join(''))
  const multiple = join(folder, 'questions.bin')
  writeFileSync(multiple, binaryChoices(asked))
  console.log(`${asked.length} questions of ${questions}`)
  for (const model of models) {
    const common = ['-m', model, '-c', '1024', '-t', '1', '-tb', '1']
    for (const [name, path, ...args] of [
      ['HellaSwag', hellaswag, '--hellaswag', '--hellaswag-tasks', String(asked.length), '-f', hellaswag],
      ['multiple choice', multiple, '--multiple-choice', '-np', '32', '-bf', multiple],
    ]) {
      const output = theirs(...common, ...args)
      const all = [...output.matchAll(/^(\d+)\t(\d+\.\d+)/gm)]
      const other = all.at(-1)
      const evaluation = await evaluateChoices({ files: [model], tasks: await readChoices(path), threads: 1 })
      const ours = 100 * evaluation.files[0].accuracyNorm.mean
      console.log(
        `${model} ${name}: ${ours.toFixed(4)} % of ${evaluation.questions}, llama-perplexity ${other?.[2]} % of ${other?.[1]}`,
      )
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
