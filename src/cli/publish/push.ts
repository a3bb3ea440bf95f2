/** `quench push`: files into a repository of the Hugging Face Hub. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { HubSettings } from '../../hub/settings.js'
import type { PushResult } from '../../hub/upload/push.js'
import type { UploadSource } from '../../hub/upload/source.js'
import type { ProgressEvent } from '../../notices.js'
import { helpEnd } from '../help.js'
import { onNote } from '../models.js'
import { bytes, positiveInteger } from '../options.js'
import { jsonOption, progressOption, valued, yesOption } from '../shared.js'
import { humanBytes } from '../terminal/format.js'
import { sayWhenEnded } from '../terminal/interrupt.js'
import { print, printJson } from '../terminal/print.js'
import { clearProgress, progressLine } from '../terminal/progress.js'

interface Options {
  repo: string
  card?: string
  private?: true
  message?: string
  splitSize?: number
  connections: number
  yes?: true
  json?: true
}

export function addPush(program: Command): void {
  program
    .command('push')
    .description('upload files to the Hugging Face Hub')
    .argument('<file...>', 'files to send; of a split model the first part stands for all')
    .addOption(
      new Option('--repo <org/name>', 'repository; made if it is missing')
        .argParser(repository)
        .makeOptionMandatory(),
    )
    .addOption(new Option('--private', 'a repository that is made is private'))
    .addOption(
      new Option(
        '--card <file>',
        'model card, sent as README.md (default: a README.md beside the files that has the table of quench compare --markdown)',
      ),
    )
    .addOption(new Option('--message <text>', 'first line of the commit'))
    .addOption(
      valued('--split-size <size>', 'send larger models in parts of this size (default: 50GB)', bytes),
    )
    .addOption(valued('--connections <n>', 'parts of a file to send at once', positiveInteger, { value: 4 }))
    .addOption(yesOption())
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        [
          'Nothing is seen in the repository until all files are there. An upload that was interrupted continues with the same command.',
          'It takes a token that may write: HF_TOKEN, or what `hf auth login` stored. HF_ENDPOINT and HTTPS_PROXY mean what they mean to other tools.',
        ],
        [
          'quench push model-Q4_K_M.gguf --repo me/model-GGUF',
          'quench push model-Q4_K_M.gguf model-Q8_0.gguf --repo me/model-GGUF --card card.md --private --yes',
        ],
      ),
    )
    .action(async (files: string[], options: Options) => {
      const { repo, card, splitSize, yes, json } = options
      const { hubSettings } = await import('../../hub/settings.js')
      const { uploadSources } = await import('../../hub/upload/plan.js')
      const settings = hubSettings()
      const sources = await uploadSources(files, {
        ...(card !== undefined && { card }),
        ...(splitSize !== undefined && { splitBytes: splitSize }),
      })
      const plan = {
        repository: repo,
        endpoint: settings.endpoint,
        private: options.private ?? false,
        files: sources.map(({ path, size }) => ({ path, bytes: size })),
      }
      if (!yes) {
        if (json) printJson({ ...plan, done: false })
        else print(planned(settings, sources, options))
        return
      }
      const result = await send(settings, sources, options)
      if (json) printJson({ ...plan, ...result, done: true })
      else print(describe(result))
    })
}

async function send(
  settings: HubSettings,
  sources: readonly UploadSource[],
  { repo, private: hidden, message, connections }: Options,
): Promise<PushResult> {
  const { HubClient } = await import('../../hub/client.js')
  const { push } = await import('../../hub/upload/push.js')
  const hub = new HubClient(settings, { onNote })
  const rate = (bytes: number): string => `${humanBytes(bytes)}/s`
  const lines = new Map(
    [
      ['checksum', 'checking'],
      ['push', 'sending'],
    ].map(([stage, label]) => [stage, progressLine(label, rate, stage)]),
  )
  sayWhenEnded('the upload was stopped; what has gone is kept, and the same command goes on from there')
  try {
    return await push(hub, {
      ...{ repository: repo, sources, private: hidden ?? false, connections },
      summary:
        message ??
        `Add ${sources
          .map(({ path }) => path)
          .slice(0, 3)
          .join(', ')}${sources.length > 3 ? ' and others' : ''} with quench`,
      onProgress: ({ stage, done, total }: ProgressEvent) => lines.get(stage)?.(done, total),
    })
  } finally {
    clearProgress()
    sayWhenEnded(undefined)
    await hub.close()
  }
}

function planned(
  { endpoint, token }: HubSettings,
  sources: readonly UploadSource[],
  { repo, private: hidden }: Options,
): string[] {
  const total = sources.reduce((sum, { size }) => sum + size, 0)
  return [
    ...sources.map(({ path, size }) => `would send ${path} (${humanBytes(size)})`),
    `${humanBytes(total)} to ${endpoint}/${repo}, in one commit to main; if there is no such repository, it would be made, ${hidden ? 'private' : 'for everybody to see'}`,
    ...(token === undefined ? ['there is no token: set HF_TOKEN, or log in with `hf auth login`'] : []),
    'nothing was sent; add --yes to send it',
  ]
}

const describe = ({ url, commit, sent, present }: PushResult): string[] => [
  ...sent.map((path) => `sent ${path}`),
  ...present.map((path) => `was there: ${path}`),
  commit === undefined ? `${url} has all of it already` : `${url} (commit ${commit.slice(0, 12)})`,
]

function repository(text: string): string {
  const [, name] =
    /^(?:hf:)?([A-Za-z0-9][A-Za-z0-9._-]{0,95}\/[A-Za-z0-9][A-Za-z0-9._-]{0,95})$/.exec(text) ?? []
  if (name === undefined || /--|\.\.|\.git$/.test(name))
    throw new InvalidArgumentError(
      'It must be ORG/NAME, your own name or that of an organization before the slash.',
    )
  return name
}
