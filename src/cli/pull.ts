/** `quench pull`: downloads a model from the Hub into the cache that Hugging Face's tools share. */
import { type Command, Option } from 'commander'
import { FileError } from '../errors.js'
import type { ResolvedModel } from '../names/resolve.js'
import { helpEnd } from './help.js'
import { onNote, pulled } from './models.js'
import { positiveInteger } from './options.js'
import { jsonOption, progressOption, valued } from './shared.js'
import { humanBytes } from './terminal/format.js'
import { print, printJson } from './terminal/print.js'

interface Options {
  fullPrecision?: true
  connections: number
  dryRun?: true
  json?: true
}

export function addPull(program: Command): void {
  program
    .command('pull')
    .description('download a model from the Hugging Face Hub into its cache')
    .argument('<name>', 'hf:org/model, hf:org/model:TYPE or :FILE, hf:org/model@REVISION, or an address')
    .addOption(
      new Option('--full-precision', 'take the full-precision file, as training does, instead of Q4_K_M'),
    )
    .addOption(valued('--connections <n>', 'pieces to fetch at once', positiveInteger, { value: 4 }))
    .addOption(new Option('--dry-run', 'print what would be downloaded and exit'))
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        [
          'A download that was interrupted continues where it was, however it ended. Every file is checked against the checksum that the Hub names. All commands take such names too and download what is missing.',
          'HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE and HTTPS_PROXY mean what they mean to other tools.',
        ],
        [
          'quench pull hf:org/model',
          'quench pull hf:org/model-GGUF:Q8_0',
          'quench pull hf:org/model@v1.0:model-F16.gguf',
        ],
      ),
    )
    .action(async (name: string, { fullPrecision, connections, dryRun, json }: Options) => {
      const need = fullPrecision ? 'full-precision' : 'any'
      const model = dryRun
        ? await (await import('../names/resolve.js')).resolveModel(name, { need, onNote })
        : await pulled(name, { need, connections })
      if (model.files.length === 0)
        throw new FileError(name, 'no such file; to download a repository name it as in hf:org/model')
      if (json) printJson(shown(model))
      else print(dryRun ? planned(model) : [model.path])
    })
}

/** The result without the repository's other files. */
function shown({ repository, ...model }: ResolvedModel): object {
  if (!repository) return model
  const { id, revision, commit } = repository
  return { ...model, repository: { id, revision, commit } }
}

function planned({ name, path, files }: ResolvedModel): string[] {
  const missing = files.filter(({ present }) => !present)
  const bytes = missing.reduce((sum, file) => sum + file.bytes, 0)
  return [
    ...missing.map((file) => `would download ${file.path} (${humanBytes(file.bytes)})`),
    missing.length === 0 ? `${name} is here: ${path}` : `${name}: ${humanBytes(bytes)} to download`,
  ]
}
