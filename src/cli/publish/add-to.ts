/** `quench add-to`: a file into the local Ollama or LM Studio. */
import { Argument, type Command, Option } from 'commander'
import { FileError } from '../../errors.js'
import { type Addition, type Store, stores } from '../../names/add-to.js'
import { helpEnd } from '../help.js'
import { localModel, modelArgument, onNote } from '../models.js'
import { jsonOption, progressOption, yesOption } from '../shared.js'
import { humanBytes } from '../terminal/format.js'
import { print, printJson } from '../terminal/print.js'

interface Options {
  name?: string
  yes?: true
  json?: true
}

export function addAddTo(program: Command): void {
  program
    .command('add-to')
    .description('make a file available in the local Ollama or LM Studio')
    .addArgument(new Argument('<store>', 'where to').choices(stores))
    .argument('<file>', modelArgument('GGUF file'))
    .addOption(
      new Option(
        '--name <name>',
        'what it is called there: model:tag in Ollama, publisher/model in LM Studio (default: by the name of the file)',
      ),
    )
    .addOption(yesOption())
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        [
          'Ollama: `ollama create` with a Modelfile that names the file. LM Studio: a hard link in its folder of models, or a copy on another disk.',
          'OLLAMA_MODELS, and where LM Studio says that its folder lies, are respected. Nothing that is there is replaced.',
        ],
        [
          'quench add-to ollama model-Q4_K_M.gguf',
          'quench add-to lm-studio model-Q4_K_M.gguf --name me/model --yes',
        ],
      ),
    )
    .action(async (store: Store, name: string, { name: asked, yes, json }: Options) => {
      const { resolveModel } = await import('../../names/resolve.js')
      const { carryOut, planAddition } = await import('../../names/add-to.js')
      const { kind, title, path, files } = await resolveModel(name, { onNote })
      if (kind === 'checkpoint')
        throw new FileError(name, 'it is a checkpoint; make a GGUF file of it with `quench convert` first')
      if (files.length === 0) throw new FileError(name, 'no such file or folder')
      const addition = await planAddition(
        store,
        yes ? (await localModel(name, 'any')).path : path,
        title,
        asked,
      )
      if (yes) await carryOut(addition)
      if (json) printJson({ ...addition, done: yes === true })
      else print(yes ? done(addition) : planned(addition))
    })
}

function planned(addition: Addition): string[] {
  const nothing = 'nothing was done; add --yes to do it'
  if (addition.store === 'ollama')
    return [
      'would write a Modelfile:',
      `  ${addition.modelfile.trimEnd()}`,
      'and run:',
      `  ollama create ${addition.name} -f Modelfile`,
      nothing,
    ]
  return [
    ...addition.files.map(({ from, to, bytes, present }) =>
      present
        ? `is there already: ${to}`
        : `would link ${from} to ${to} (or copy ${humanBytes(bytes)} if that is another disk)`,
    ),
    nothing,
  ]
}

const done = (addition: Addition): string[] =>
  addition.store === 'ollama'
    ? [`${addition.name} is in Ollama: ollama run ${addition.name}`]
    : addition.files.map(({ to }) => to)
