/** `quench eval`: how far quantized files are from their reference on text, and how they do at tasks. */
import type { Command } from 'commander'
import { gpuLayers, kvTypes, positiveInteger, threadCount } from '../options.js'
import { print, printJson, printWarning, reportFailures } from '../terminal/print.js'
import { clearProgress } from '../terminal/progress.js'
import type { SectionOptions } from './sections.js'
import { describeSections } from './table.js'

interface EvalOptions extends SectionOptions {
  json?: true
}

export function addEval(program: Command): void {
  program
    .command('eval')
    .description('measure how far GGUF files are from a reference: on text, and at tasks')
    .argument('<files...>', 'quantized GGUF files')
    .requiredOption(
      '-r, --reference <file>',
      'full-precision GGUF file that they were made from, or a file of --save-reference',
    )
    .option('--original <file>', 'the model before training, as a second reference')
    .option('-d, --data <paths...>', 'held-out text: files, or folders of .txt, .md and .jsonl files')
    .option(
      '--tasks <files...>',
      'questions with choices: JSON lines, HellaSwag, or multiple choice of llama.cpp',
    )
    .option('--chat <files...>', "conversations as JSON lines, scored on the assistant's tokens")
    .option('--generate <file|n>', 'continue these prompts (JSON lines), or n prompts from --data, greedily')
    .option('--generate-tokens <n>', 'tokens to write after each prompt', positiveInteger, 64)
    .option(
      '-c, --context <n>',
      'tokens of a window; of conversations at most (default: all)',
      positiveInteger,
      512,
    )
    .option('--tokens <n>', 'most tokens of the text to use (default: all)', positiveInteger)
    .option(
      '--save-reference <file>',
      "keep the reference's predictions for later evaluations on the same text",
    )
    .option(
      '--kv-type <types>',
      'run every file with these types of KV cache too, e.g. q8_0,q4_0',
      kvTypes,
      [],
    )
    .option('--gpu-layers <n>', 'layers to put on a GPU, or all (default: 0)', gpuLayers)
    .option('--threads <n>', 'threads to use (default: as the size of the model allows)', threadCount)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nPPL perplexity, KLD nats per token from the reference, top-1 share of tokens whose best guess is the same;' +
        '\n± is a standard error over windows.' +
        '\n\nExamples:' +
        '\n  quench eval model-Q4_0.gguf model-Q4_K_M.gguf --reference model-F16.gguf --data heldout.txt' +
        '\n  quench eval model-Q4_0.gguf --reference model-F16.gguf --tasks hellaswag.txt' +
        '\n  quench eval model-Q4_0.gguf --reference model-F16.gguf --chat talks.jsonl --generate tools.jsonl',
    )
    .action(async (files: string[], options: EvalOptions, command: Command) => {
      const { data, tasks = [], chat = [], generate, json } = options
      if (!data && tasks.length === 0 && chat.length === 0 && generate === undefined)
        command.error('error: give text with --data, or one of --chat, --tasks and --generate', {
          exitCode: 2,
        })
      const { evaluateSections } = await import('./sections.js')
      const given = command.getOptionValueSource('context') === 'cli'
      const { withoutBad } = await import('../../failures.js')
      const { result, failures } = await withoutBad(files, (files) =>
        evaluateSections(files, { ...options, ...(given && { chatContext: options.context }) }),
      )
      clearProgress()
      const { warnings = [], chat: onChat, generation } = result
      for (const warning of [...warnings, ...(onChat?.warnings ?? []), ...(generation?.warnings ?? [])])
        printWarning(warning)
      reportFailures(failures)
      if (json) printJson({ ...result, failures })
      else print(describeSections(result))
    })
}
