/** `quench convert`: converts a Transformers checkpoint to a GGUF file. */
import { lstatSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { ConvertResult } from '../convert/index.js'
import { fileTypes } from '../convert/types.js'
import { UsageError } from '../errors.js'
import { plural } from '../format.js'
import { helpEnd } from './help.js'
import { checkpointFolder } from './models.js'
import { group, jsonOption, progressOption } from './shared.js'
import { humanBytes, humanCount } from './terminal/format.js'
import { print, printJson, printWarning } from './terminal/print.js'
import { clearProgress, eventLine } from './terminal/progress.js'

interface ConvertCommandOptions {
  type?: string
  output?: string
  adapter?: string
  json?: true
}

export function addConvert(program: Command): void {
  const command = program
    .command('convert')
    .description('convert a checkpoint (config.json, safetensors, tokenizer) to a GGUF file')
    .argument(
      '<folder>',
      'folder of the checkpoint, as Transformers saves it; or a name such as hf:org/model',
    )
  group(command, 'Input and output', [
    new Option(
      '--type <float>',
      'F16, BF16 or F32 (default: the 16-bit type of the checkpoint; what is exact for FP8)',
    ).argParser(weightType),
    new Option(
      '-o, --output <file>',
      'file to write; one that exists is replaced (default: FOLDER-TYPE.gguf, beside the folder)',
    ),
    new Option('--adapter <folder>', 'LoRA adapter (adapter_config.json, safetensors) to add to the weights'),
  ])
  group(command, 'Running', [progressOption(), jsonOption()])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'Llama, Mistral, SmolLM3, Qwen 2 and 3, Gemma 3 and 4 (the text of multimodal ones). Without a name the output lies beside the folder: Model becomes Model-bf16.gguf, and a file that exists is not replaced.',
        ],
        [
          'quench convert Llama-3.2-1B',
          'quench convert Llama-3.2-1B --type F16 -o llama-f16.gguf',
          'quench convert Llama-3.2-1B --adapter my-lora -o mine-bf16.gguf',
        ],
      ),
    )
    .action(async (name: string, options: ConvertCommandOptions) => {
      const { folder, repository } = await checkpointFolder(name)
      const { convertCheckpoint, defaultType } = await import('../convert/index.js')
      const { adapter } = options
      const output =
        options.output ??
        newName(
          repository === undefined ? folder : repository.replace(/^.*\//, ''),
          options.type ?? (await defaultType(folder)),
        )
      const result = await convertCheckpoint({
        folder,
        output,
        ...(repository !== undefined && { name: repository }),
        ...(options.type !== undefined && { type: options.type }),
        ...(adapter !== undefined && { adapter }),
        onProgress: eventLine('converting', (bytes) => `${humanBytes(bytes)}/s`, 'convert'),
      })
      clearProgress()
      result.warnings.forEach(printWarning)
      if (options.json) printJson(result)
      else print(describe(result))
    })
}

/** Parses a type, case-insensitively. */
function weightType(text: string): string {
  const type = text.toUpperCase()
  if (!fileTypes.includes(type)) throw new InvalidArgumentError(`It must be one of ${fileTypes.join(', ')}.`)
  return type
}

/** `Model-bf16.gguf` beside the folder `Model`. @throws UsageError if it exists, since replacing it was not requested */
function newName(folder: string, type: string): string {
  const whole = resolve(folder)
  const name = `${basename(whole)}-${type.toLowerCase()}.gguf`
  const path = dirname(whole) === resolve('.') ? name : join(dirname(whole), name)
  if (lstatSync(path, { throwIfNoEntry: false }))
    throw new UsageError(
      `${path} exists already; name another output with --output, or the same to replace it`,
    )
  return path
}

function describe(result: ConvertResult): string[] {
  const { path, architecture, type, bytes, parameters, tensors, leftOut, adapted, seconds } = result
  return [
    `${path}: ${architecture}, ${humanCount(parameters)} parameters in ${type}, ${plural(tensors, 'tensor')}, ${humanBytes(bytes)}`,
    ...(leftOut > 0 ? [`${plural(leftOut, 'tensor')} for images and sound left out`] : []),
    ...(adapted > 0 ? [`the adapter changed ${plural(adapted, 'tensor')}`] : []),
    `written in ${seconds.toFixed(1)} s`,
  ]
}
