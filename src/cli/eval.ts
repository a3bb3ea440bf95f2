/** `quench eval`: how far quantized files are from their reference on held-out text. */
import { basename } from 'node:path'
import type { Command } from 'commander'
import type { Estimate, Evaluation } from '../evaluate/index.js'
import { humanBytes, humanCount, table } from './format.js'
import { positiveInteger, printJson, threadCount } from './options.js'
import { clearProgress, progressLine } from './progress.js'

interface EvalOptions {
  reference: string
  data: string[]
  context: number
  tokens?: number
  threads?: number
  json?: true
}

export function addEval(program: Command): void {
  program
    .command('eval')
    .description('measure perplexity and KL divergence of GGUF files against a reference')
    .argument('<files...>', 'quantized GGUF files')
    .requiredOption('-r, --reference <file>', 'full-precision GGUF file that they were made from')
    .requiredOption('-d, --data <paths...>', 'held-out text: files, or folders of .txt, .md and .jsonl files')
    .option('-c, --context <n>', 'tokens of a window', positiveInteger, 512)
    .option('--tokens <n>', 'most tokens of the text to use (default: all)', positiveInteger)
    .option('--threads <n>', 'threads to use (default: as the size of the model allows)', threadCount)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nPPL perplexity, KLD nats per token from the reference, top-1 share of tokens whose best guess is the same;' +
        '\n± is a standard error over windows.' +
        '\n\nExample:\n  quench eval model-Q4_0.gguf model-Q4_K_M.gguf --reference model-F16.gguf --data heldout.txt',
    )
    .action(async (files: string[], { reference, data, context, tokens, threads, json }: EvalOptions) => {
      const { evaluateFiles } = await import('../evaluate/index.js')
      const { readTexts } = await import('../data/texts.js')
      const result = await evaluateFiles({
        reference,
        files,
        text: await readTexts(data),
        context,
        onProgress: progressLine('evaluating', (rate) => `${humanCount(rate)} tokens/s`),
        ...(tokens !== undefined && { maxTokens: tokens }),
        ...(threads !== undefined && { threads }),
      })
      clearProgress()
      for (const warning of result.warnings) process.stderr.write(`quench: warning: ${warning}\n`)
      if (json) printJson(result)
      else process.stdout.write(describe(result))
    })
}

function describe({ reference, files, tokens, windows, context }: Evaluation): string {
  const names = new Set([reference, ...files].map(({ path }) => basename(path)))
  const named = names.size === files.length + 1 ? basename : (path: string) => path
  const size = (bytes: number, bits: number) => [humanBytes(bytes), bits.toFixed(3)]
  const header = ['file', 'type', 'size', 'bits/weight', 'PPL', '', 'KLD', '', 'median', 'p99', 'top-1', '']
  const first = [
    named(reference.path),
    reference.type,
    ...size(reference.bytes, reference.bitsPerWeight),
    ...withError(reference.perplexity, 4),
  ]
  const rows = [...files]
    .sort((a, b) => b.bytes - a.bytes)
    .map((file) => [
      named(file.path),
      file.type,
      ...size(file.bytes, file.bitsPerWeight),
      ...withError(file.perplexity, 4),
      ...withError(file.kld, 6),
      file.kld.median.toFixed(6),
      file.kld.p99.toFixed(6),
      ...withError({ mean: 100 * file.top1.mean, se: 100 * file.top1.se }, 2, ' %'),
    ])
  const lines = table([header, first, ...rows], new Set([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
  return `${lines}${tokens} tokens scored in ${windows} windows of ${context}; the first line is the reference\n`
}

const withError = ({ mean, se }: Estimate, digits: number, unit = ''): string[] => [
  mean.toFixed(digits),
  `± ${se.toFixed(digits)}${unit}`,
]
