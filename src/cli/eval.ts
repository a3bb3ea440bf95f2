/** `quench eval`: how far quantized files are from their reference on text, and how they do at tasks. */
import { type Command, InvalidArgumentError } from 'commander'
import type { ChoiceEvaluation, Evaluation, ModelOptions } from '../evaluate/index.js'
import { describeEvaluation } from './eval-table.js'
import { describeChoices } from './eval-tasks.js'
import { humanCount } from './format.js'
import { positiveInteger, printJson, threadCount } from './options.js'
import { clearProgress, progressLine } from './progress.js'

interface EvalOptions {
  reference: string
  original?: string
  data?: string[]
  tasks?: string[]
  context: number
  tokens?: number
  saveReference?: string
  kvType: string[]
  gpuLayers?: number
  threads?: number
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
    .option('-c, --context <n>', 'tokens of a window', positiveInteger, 512)
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
    .option('--gpu-layers <n>', 'layers to run on a GPU; -1 is all (default: 0)', gpuLayers)
    .option('--threads <n>', 'threads to use (default: as the size of the model allows)', threadCount)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nPPL perplexity, KLD nats per token from the reference, top-1 share of tokens whose best guess is the same;' +
        '\n± is a standard error over windows.' +
        '\n\nExamples:' +
        '\n  quench eval model-Q4_0.gguf model-Q4_K_M.gguf --reference model-F16.gguf --data heldout.txt' +
        '\n  quench eval model-Q4_0.gguf --reference model-F16.gguf --tasks hellaswag.txt',
    )
    .action(async (files: string[], options: EvalOptions, command: Command) => {
      const { data, tasks = [], json } = options
      if (!data && tasks.length === 0)
        command.error('error: give text with --data <paths...>, or questions with --tasks <files...>', {
          exitCode: 2,
        })
      const common: Common = {
        reference: options.reference,
        files,
        kvTypes: [...new Set(['f16', ...options.kvType])],
        ...(options.gpuLayers !== undefined && { gpuLayers: options.gpuLayers }),
        ...(options.threads !== undefined && { threads: options.threads }),
      }
      const onText = data && (await evaluateText(common, data, options))
      const choices: ChoiceEvaluation[] = []
      for (const path of tasks) choices.push(await askQuestions(common, path))
      clearProgress()
      for (const warning of onText?.warnings ?? []) process.stderr.write(`quench: warning: ${warning}\n`)
      if (json) {
        printJson({ ...onText, ...(choices.length > 0 && { tasks: choices }) })
        return
      }
      const sections = [...(onText ? [describeEvaluation(onText)] : []), ...choices.map(describeChoices)]
      process.stdout.write(sections.join('\n'))
    })
}

/** What every kind of evaluation takes. */
interface Common extends ModelOptions {
  readonly reference: string
  readonly files: readonly string[]
}

async function evaluateText(common: Common, data: string[], options: EvalOptions): Promise<Evaluation> {
  const { original, tokens, saveReference, context } = options
  const { evaluateFiles } = await import('../evaluate/index.js')
  const { readDocuments } = await import('../data/texts.js')
  return evaluateFiles({
    ...common,
    text: await readDocuments(data),
    context,
    onProgress: progressLine('evaluating', (rate) => `${humanCount(rate)} tokens/s`),
    ...(original !== undefined && { original }),
    ...(tokens !== undefined && { maxTokens: tokens }),
    ...(saveReference !== undefined && { saveReference }),
  })
}

async function askQuestions(common: Common, path: string): Promise<ChoiceEvaluation> {
  const { evaluateChoices, readChoices } = await import('../evaluate/index.js')
  return evaluateChoices({
    ...common,
    tasks: await readChoices(path),
    onProgress: progressLine('asking questions', (rate) => `${humanCount(rate)} tokens/s`),
  })
}

/** Types of a KV cache that llama.cpp has attention for. */
const knownKvTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1']

function kvTypes(text: string): string[] {
  const types = text.toLowerCase().split(',')
  const unknown = types.find((type) => !knownKvTypes.includes(type))
  if (unknown !== undefined)
    throw new InvalidArgumentError(`"${unknown}" is not one of ${knownKvTypes.join(', ')}.`)
  return types
}

function gpuLayers(text: string): number {
  if (!/^-?\d{1,6}$/.test(text) || Number(text) < -1)
    throw new InvalidArgumentError('It must be a whole number from 0, or -1 for all.')
  return Number(text)
}
