/** `quench quantize`: plain post-training quantization, the same file as llama-quantize writes. */
import type { Command } from 'commander'
import type { QuantizeFileResult } from '../quantize/ptq.js'
import { threadCount } from './options.js'
import { humanBytes, table } from './terminal/format.js'
import { print, printJson, printWarning } from './terminal/print.js'
import { clearProgress, progressLine } from './terminal/progress.js'

interface QuantizeOptions {
  type: string
  output: string
  allowRequantize?: true
  threads?: number
  json?: true
}

export function addQuantize(program: Command): void {
  program
    .command('quantize')
    .description('quantize a GGUF file as llama-quantize does (PTQ)')
    .argument('<input>', 'full-precision GGUF file; of a split model the first part')
    .requiredOption('-t, --type <type>', 'file type, e.g. Q4_K_M, Q4_0, Q8_0')
    .requiredOption('-o, --output <file>', 'file to write; one that exists is replaced')
    .option('--allow-requantize', 'accept an input that is quantized already, at a loss')
    .option('--threads <n>', 'threads to use (default: all)', threadCount)
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  quench quantize model-F16.gguf --type Q4_K_M -o model-Q4_K_M.gguf')
    .action(async (input: string, { type, output, allowRequantize, threads, json }: QuantizeOptions) => {
      const { quantizeFile } = await import('../quantize/ptq.js')
      const result = await quantizeFile(input, output, type.toUpperCase(), {
        allowRequantize: allowRequantize ?? false,
        onProgress: progressLine(`quantizing to ${type}`, (bytes) => `${humanBytes(bytes)}/s`),
        ...(threads !== undefined && { threads }),
      })
      clearProgress()
      result.warnings.forEach(printWarning)
      if (json) printJson(result)
      else print(describe(result))
    })
}

function describe(result: QuantizeFileResult): string[] {
  const row = ({ path, type, bytes, bitsPerWeight }: QuantizeFileResult['input']) => [
    path,
    type,
    humanBytes(bytes),
    bitsPerWeight.toFixed(3),
  ]
  const rows = [['file', 'type', 'size', 'bits/weight'], row(result.input), row(result)]
  return [...table(rows, new Set([2, 3])), `written in ${result.seconds.toFixed(1)} s`]
}
