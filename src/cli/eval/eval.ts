/** `quench eval`: compares quantized files with their reference on text and tasks. */
import { type Command, Option } from 'commander'
import { UsageError } from '../../errors.js'
import { helpEnd } from '../help.js'
import { localPath, localPaths, modelArgument } from '../models.js'
import { cachePair, kvTypes, positiveInteger } from '../options.js'
import {
  cacheTypeOptions,
  contextOption,
  gpuLayersOption,
  group,
  jsonOption,
  progressOption,
  threadsOption,
  valued,
} from '../shared.js'
import { print, printJson, printWarning, reportFailures } from '../terminal/print.js'
import { clearProgress } from '../terminal/progress.js'
import type { SectionOptions } from './sections.js'
import { describeSections } from './table.js'

interface EvalOptions extends SectionOptions {
  json?: true
  cacheTypeK?: string
  cacheTypeV?: string
}

export function addEval(program: Command): void {
  const command = program
    .command('eval')
    .description('evaluate GGUF files on text and on tasks, alone or against a reference')
    .argument('<files...>', modelArgument('GGUF files, and texts (.txt, .md, .jsonl or .raw) as of --data'))
  group(command, 'What to compare with', [
    new Option(
      '--reference <file>',
      'full-precision GGUF file that they were made from, or a file of --save-reference (default: none, and perplexity alone is measured)',
    ),
    new Option('--original <file>', 'the model before training, as a second reference'),
    new Option(
      '--save-reference <file>',
      "save the reference's predictions for later evaluations on the same text",
    ),
  ])
  group(command, 'What to measure on', [
    new Option(
      '-d, --data <paths...>',
      'held-out text: files, or folders of .txt, .md and .jsonl files (default: the reference, if there is one, writes 8192 tokens)',
    ),
    new Option(
      '--tasks <files...>',
      'questions with choices: JSON lines, HellaSwag, or multiple choice of llama.cpp',
    ),
    new Option('--chat <files...>', "conversations as JSON lines, scored on the assistant's tokens"),
    new Option(
      '--continue <file|n>',
      'continue these prompts (JSON lines), or n prompts from --data, greedily',
    ),
    valued('--continue-tokens <n>', 'tokens to write after each prompt', positiveInteger, { value: 64 }),
    contextOption('window length in tokens; conversations are cut to it only if it is given', 512),
    valued('--tokens <n>', 'maximum number of tokens of the text (default: all)', positiveInteger),
  ])
  group(command, 'Running', [
    threadsOption('chosen by model size'),
    gpuLayersOption(),
    valued(
      '--kv-type <types>',
      'run every file with these types of KV cache too, e.g. q8_0,q4_0 or q8_0/f16',
      kvTypes,
      {
        value: [],
        shown: 'none',
      },
    ),
    ...cacheTypeOptions(),
  ])
  group(command, 'Output', [jsonOption(), progressOption()])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'PPL perplexity, KLD mean of KL(reference || file) in nats per token, top-1 share of tokens whose best guess is the same; ± is a standard error over windows.',
          'Without --reference, perplexity, loss and speed are measured, and the accuracy of --tasks; of several files, the ratio of perplexities to the first.',
          'Every file is run with a cache of f16 and with each of the types that --kv-type or --cache-type-k and --cache-type-v name; the reference with f16.',
        ],
        [
          'quench eval model-Q4_0.gguf text.txt',
          'quench eval model-Q4_0.gguf model-Q4_K_M.gguf --reference model-f16.gguf --data text.txt',
          'quench eval model-Q4_0.gguf --reference model-f16.gguf --tasks hellaswag.txt',
          'quench eval model-Q4_0.gguf --reference model-f16.gguf --chat talks.jsonl --continue tools.jsonl',
        ],
      ),
    )
    .action(async (names: string[], options: EvalOptions, command: Command) => {
      const { json, cacheTypeK, cacheTypeV } = options
      const { models, data } = textsAmong(names, options.data)
      const pair = cachePair(cacheTypeK, cacheTypeV)
      const types = [...options.kvType, ...(pair === undefined ? [] : [pair])]
      const files = await localPaths(models, 'any')
      const reference =
        options.reference === undefined ? undefined : await localPath(options.reference, 'full-precision')
      const original =
        options.original === undefined ? undefined : await localPath(options.original, 'full-precision')
      const { evaluateSections } = await import('./sections.js')
      const given = command.getOptionValueSource('context') === 'cli'
      const { withoutBad } = await import('../../failures.js')
      const { result, failures } = await withoutBad(files, (files) =>
        evaluateSections(files, {
          ...options,
          ...(data && { data }),
          ...(reference !== undefined && { reference }),
          ...(original !== undefined && { original }),
          kvType: types,
          ...(given && { chatContext: options.context }),
        }),
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

/** Texts named among the models, as `quench eval MODEL.gguf TEXT.txt`, join those of `--data`. @throws UsageError without a model */
function textsAmong(
  names: readonly string[],
  data: readonly string[] | undefined,
): { models: string[]; data?: string[] } {
  const isText = (name: string): boolean => /\.(txt|md|jsonl|raw)$/i.test(name)
  const models = names.filter((name) => !isText(name))
  if (models.length === 0)
    throw new UsageError(`${names[0]} is a text, and there is no GGUF file to evaluate`)
  const texts = [...names.filter(isText), ...(data ?? [])]
  return { models, ...(texts.length > 0 && { data: texts }) }
}
