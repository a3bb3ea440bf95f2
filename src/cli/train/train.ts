/** `quench train`: quantization-aware training of a GGUF file. */

import { type Command, Option, type OptionValues } from 'commander'
import { optionGroups } from '../../config/entry.js'
import { optionEntries } from '../../config/table.js'
import { UsageError } from '../../errors.js'
import { helpEnd } from '../help.js'
import { localModel, modelArgument } from '../models.js'
import { fileType } from '../options.js'
import { nameBeside, newName } from '../output-name.js'
import { positional, positionalHelp } from '../positional.js'
import { group, jsonOption, progressOption, threadsOption } from '../shared.js'
import { tensorTypeFile } from '../tensor-types.js'
import { trainOption, trainValues } from './options.js'
import { runTrain } from './run.js'

interface Options extends OptionValues {
  type?: string
  output?: string
  json?: true
  dryRun?: true
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('quantization-aware training: a better file than PTQ of the same size')
    .usage('[options] INPUT [OUTPUT] TYPE [THREADS]')
    .argument('<input>', modelArgument('full-precision GGUF file; of a split model the first part'))
    .argument('[type...]', positionalHelp)
  group(command, 'Input and output', [
    new Option('--type <type>', 'file type, e.g. Q4_0, Q3_K_M, Q2_K').argParser(fileType),
    new Option(
      '-o, --output <file>',
      'file to write; one that exists is replaced (default: INPUT-TYPE-QAT.gguf)',
    ),
  ])
  for (const [name, heading] of Object.entries(optionGroups))
    group(command, heading, [
      ...optionEntries.flatMap(([, entry]) => (entry.group === name ? [trainOption(entry)] : [])),
      ...(name === 'types' ? [tensorTypeFile()] : []),
    ])
  group(command, 'Running and output', [
    threadsOption('all'),
    new Option('--dry-run', 'print the plan item by item and exit; nothing is written'),
    progressOption(),
    jsonOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'Ctrl-C stops a training step at its end and the solving of a block at once; finished steps and blocks are kept beside the output, for --resume.',
          'On one kind of machine the same command makes the same file, whatever is cached or free and however busy the machine is, unless --time is given: then measured speeds set tokens and steps. --resume keeps the options of the run that are left out, and what it had decided.',
          'Without a name the output lies beside the input: model-f16.gguf becomes model-Q4_0-QAT.gguf, and a file that exists is not replaced.',
        ],
        [
          'quench train model-f16.gguf Q4_0 --time 30m',
          'quench train model-f16.gguf --type Q4_0 --data text.txt --memory 8GB -o model-Q4_0-QAT.gguf',
        ],
      ),
    )
    .action(async (name: string, more: string[], all: Options) => {
      // What a default says must not stand against what a resumed run was told.
      const options: Options = Object.fromEntries(
        Object.entries(all).filter(([key]) => command.getOptionValueSource(key) !== 'default'),
      )
      const { json, dryRun } = options
      const { type, output: named, threads } = positional('train', more, options)
      const values = await trainValues({ ...options, ...(threads !== undefined && { threads }) })
      if (values.seconds !== undefined && values.steps !== undefined)
        throw new UsageError('--time and --steps exclude each other; give one of them')
      const { path: input, beside } = await localModel(name, 'full-precision')
      const output = named ?? defaultOutput(beside, type, (values.resume ?? false) || dryRun === true)
      await runTrain({ name, input, output, type, values, json, dryRun })
    })
}

/** @param continues what the run resumes from, or that nothing is written */
const defaultOutput = (input: string, type: string, continues: boolean): string =>
  (continues ? nameBeside : newName)(input, `${type}-QAT`)
