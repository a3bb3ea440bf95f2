/** `quench advise`: recommends a file for this machine or for one that is described. */
import { spawn } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Prepared } from '../../advise/prepare.js'
import type { Advice, AdvisedModel, AdviseOptions } from '../../advise/types.js'
import { limitOf, nameOf, speedText } from '../../advise/words.js'
import type { ProgressEvent } from '../../notices.js'
import { helpEnd } from '../help.js'
import { onNote } from '../models.js'
import { bytes, positiveInteger } from '../options.js'
import { cacheTypeOptions, contextOption, group, jsonOption, progressOption, valued } from '../shared.js'
import { humanBytes, humanCount, table } from '../terminal/format.js'
import { print, printJson, printWarning, reportFailures } from '../terminal/print.js'
import { clearProgress, eventLine } from '../terminal/progress.js'
import { bold, headed, type Line } from '../terminal/style.js'

interface Options {
  ram?: number
  vram?: number[]
  gpu?: string[]
  context?: number
  parallel?: number
  cacheTypeK?: string
  cacheTypeV?: string
  for?: 'chat' | 'agent' | 'code' | 'long-context'
  minSpeed?: number
  draft?: string
  countDraft?: true
  store?: string
  all?: true
  open?: true
  output?: string
  json?: true
}

const mostSpeed = 1_000_000

/** Number of models shown without --all. */
const modelsShown = 12

export function addAdvise(program: Command): void {
  const command = program
    .command('advise')
    .description('say which file of a model to take, by measured or published loss, memory and speed')
    .argument(
      '[names...]',
      'GGUF files, folders, or families such as gemma-3-4b (default: what is here, and the catalogue)',
    )
  group(command, 'The machine', [
    valued('--ram <size>', 'memory of the system, e.g. 16GB (default: that of this machine)', bytes),
    new Option(
      '--vram <size>',
      'memory of the graphics card; 0 for none; once for each of several',
    ).argParser((text, before: number[] = []) => [...before, bytesFromZero(text)]),
    new Option(
      '--gpu <name>',
      'graphics card or chip, e.g. "RTX 4090" or "Apple M4"; once for each of several',
    ).argParser(cardName),
  ])
  group(command, 'What it is for', [
    new Option('--for <work>', 'work; chooses context, least speed and the kinds of text that count').choices(
      [...['chat', 'agent', 'code', 'long-context']],
    ),
    contextOption('tokens of context for each conversation (default: 8192, or as --for needs)'),
    valued('--parallel <n>', 'conversations at a time (default: 1)', positiveInteger),
    valued(
      '--min-speed <x>',
      'tokens per second at least, 0 for any (default: as --for needs, else 5)',
      speedFromZero,
    ),
    ...cacheTypeOptions(),
    new Option(
      '--draft <model>',
      'draft model for speculative decoding, a GGUF file or a family; its memory is added',
    ),
    new Option('--count-draft', 'let the speed that the draft is expected to win count for --min-speed'),
  ])
  group(command, 'Output', [
    new Option('--store <file>', 'database of measurements (default: in the cache folder)'),
    new Option('--all', 'list every file of every model'),
    new Option('--open', 'write a page with sliders for memory and context, and open it in a browser'),
    new Option('-o, --output <file>', 'name of that page (default: quench-advice.html)'),
    jsonOption(),
    progressOption(),
  ])
  command
    .addHelpText(
      'after',
      helpEnd(
        [
          'A loss is the KL divergence from the full-precision model in nats per token. It is said whether it was measured, published or fitted, and its interval is meant to hold 80 %. It ranks files of one model, never models.',
          '--ram, --vram or --gpu describe another machine. Without them it is this one: how fast it reads and multiplies up to four of the types in question is measured once, in some seconds while nothing else computes, and kept in the cache. Speeds that `quench bench` has measured here correct the estimates.',
        ],
        [
          'quench advise gemma-3-4b --ram 16GB --vram 8GB',
          'quench advise models --for agent --context 32768',
        ],
      ),
    )
    .action(async (names: string[], options: Options) => {
      const { adviceFrom } = await import('../../advise/advise.js')
      const { prepareAdvice } = await import('../../advise/prepare.js')
      const prepared = await prepareAdvice({
        ...asked(names, options),
        onNote,
        onProgress: progressOf(),
      })
      clearProgress()
      const advice = adviceFrom(prepared)
      const page = options.output ?? (options.open ? 'quench-advice.html' : undefined)
      if (page !== undefined) await writePage(page, prepared)
      reportFailures(advice.failures)
      if (options.json) printJson(advice)
      else {
        for (const note of advice.notes) printWarning(note)
        print(described(advice, options.all ?? false))
        if (page !== undefined) print(['', `The page is in ${page}`])
      }
      if (options.open && page !== undefined && process.stdout.isTTY) openInBrowser(page)
    })
}

function progressOf(): (event: ProgressEvent) => void {
  const lines = new Map([
    ['headers', eventLine('reading headers', (rate) => `${rate.toFixed(1)} files/s`, 'headers')],
    ['probe', eventLine('measuring this machine', (rate) => `${rate.toFixed(1)} types/s`, 'probe')],
  ])
  return (event) => lines.get(event.stage)?.(event)
}

async function writePage(path: string, prepared: Prepared): Promise<void> {
  const { advicePage } = await import('../../advise/page/page.js')
  const { pageData } = await import('../../advise/page/data.js')
  const { withOutputs } = await import('../../outputs.js')
  const { atomicWrite } = await import('../../files.js')
  const reads = prepared.candidates.flatMap(({ path: file }) =>
    file === undefined ? [] : [{ path: file, by: 'a file to choose from' }],
  )
  await withOutputs({ writes: [{ path, by: '--output' }], reads }, () =>
    atomicWrite(path, advicePage(pageData(prepared))),
  )
}

/** Errors are ignored: the line that names the page suffices if no browser can be started. */
function openInBrowser(path: string): void {
  const [program, ...args] =
    process.platform === 'darwin'
      ? ['open']
      : process.platform === 'win32'
        ? ['cmd', '/c', 'start', '']
        : ['xdg-open']
  const child = spawn(program, [...args, pathToFileURL(path).href], { stdio: 'ignore', detached: true })
  child.on('error', () => {})
  child.unref()
}

function asked(names: string[], options: Options): AdviseOptions {
  const { ram, vram, gpu, context, parallel, cacheTypeK, cacheTypeV, minSpeed, store } = options
  const { draft, countDraft } = options
  return {
    names,
    ...(ram !== undefined && { ramBytes: ram }),
    ...(vram !== undefined && { vramBytes: vram }),
    ...(gpu !== undefined && { gpu }),
    ...(context !== undefined && { context }),
    ...(parallel !== undefined && { parallel }),
    ...(options.for && { purpose: options.for }),
    ...(minSpeed !== undefined && { minSpeed }),
    ...((cacheTypeK ?? cacheTypeV) !== undefined && {
      cacheTypes: { keys: cacheTypeK ?? 'f16', values: cacheTypeV ?? 'f16' },
    }),
    ...(draft !== undefined && { draft }),
    ...(countDraft && { countDraft }),
    ...(store !== undefined && { store }),
  }
}

function cardName(text: string, before: readonly string[] = []): string[] {
  if (!/[a-z0-9]/i.test(text)) throw new InvalidArgumentError('It must be a name such as "RTX 4090".')
  return [...before, text]
}

function speedFromZero(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0 && value <= mostSpeed))
    throw new InvalidArgumentError(`It must be a number of tokens per second from 0 to ${mostSpeed}.`)
  return value
}

function bytesFromZero(text: string): number {
  if (/^0[kMGT]?i?B?$/i.test(text.trim())) return 0
  try {
    return bytes(text)
  } catch {
    throw new InvalidArgumentError('It must be 0 or a size such as 8GB.')
  }
}

/** One line that describes the machine and how the model runs. */
function headOf({ machine, run }: Advice): string {
  const memory = (bytes: number, usable: number): string =>
    `${humanBytes(bytes)} (a model may take ${humanBytes(usable)})`
  const { gpu, unified, ramBytes, ramUsableBytes, vramBytes, vramUsableBytes } = machine
  const { keys, values } = run.cacheTypes
  return [
    ...(gpu === undefined ? [] : [gpu]),
    `${unified ? 'unified memory' : 'memory'} ${memory(ramBytes, ramUsableBytes)}`,
    ...(unified
      ? []
      : [
          vramBytes > 0
            ? `${machine.devices.length > 2 ? 'graphics cards' : 'graphics card'} ${memory(vramBytes, vramUsableBytes)}`
            : 'no graphics card',
        ]),
    `context ${run.context}${run.parallel > 1 ? ` x ${run.parallel}` : ''}`,
    `cache ${keys}${values === keys ? '' : `/${values}`}`,
    ...(run.minSpeed > 0 ? [`at least ${run.minSpeed} tokens/s`] : []),
  ].join(', ')
}

function described(advice: Advice, all: boolean): Line[] {
  const { models } = advice
  const head = headOf(advice)
  if (models.length === 1) return [head, '', ...modelLines(models[0])]
  const fitting = models.filter(({ pick }) => pick !== undefined)
  const shown = all ? models : fitting.slice(0, modelsShown)
  const left = models.length - shown.length
  return [
    head,
    '',
    ...overview(shown),
    ...(left > 0 ? ['', `${left} more models; --all lists them, and a name gives details`] : []),
    ...(all ? shown.flatMap((model) => ['', ...modelLines(model)]) : []),
  ]
}

/** The recommended file of each model. */
function overview(models: readonly AdvisedModel[]): Line[] {
  const rows = models.map((advised) => {
    const { model, parameters, licence = '', pick, files, abilities } = advised
    const file = files.find(({ id }) => id === pick)
    const score = abilities[0] === undefined ? '' : abilities[0].score.toFixed(3)
    if (!file) return [model, humanCount(parameters), 'nothing fits', '', '', '', '', score, licence]
    return [
      ...[model, humanCount(parameters), nameOf(file), humanBytes(file.bytes)],
      ...[lossCell(file.loss), speedText(file.speed.generate), limitOf(advised), score, licence],
    ]
  })
  const heading = [
    'model',
    'weights',
    'take',
    'size',
    'expected loss',
    'tokens/s',
    'limited by',
    'published score',
    'licence',
  ]
  return headed(table([heading, ...rows], new Set([1, 3, 5, 7])))
}

const lossCell = ({ expected, kind }: Advice['models'][number]['files'][number]['loss']): string =>
  kind === 'reference' ? 'none' : `${expected.toPrecision(2)} ${kind}`

function modelLines({ model, licence, files, pick, sentences, commands, drafts }: AdvisedModel): Line[] {
  const rows = files.map((file) => {
    const { id, bytes: size, loss, memory, speed, lacks } = file
    const [low, high] = loss.interval
    const interval = loss.kind === 'reference' ? '' : `${low.toPrecision(2)} to ${high.toPrecision(2)}`
    const fit =
      lacks === undefined
        ? id === pick
          ? 'take it'
          : 'yes'
        : lacks.what === 'memory'
          ? `lacks ${humanBytes(lacks.amount)}`
          : 'too slow'
    return [
      ...[nameOf(file), humanBytes(size), lossCell(loss), interval],
      ...[humanBytes(memory.ramBytes), humanBytes(memory.vramBytes), speedText(speed.generate), fit],
    ]
  })
  const heading = ['file', 'size', 'expected loss', '80 %', 'memory', 'on the card', 'tokens/s', 'fits']
  return [
    bold(`${model}${licence === undefined ? '' : ` (licence: ${licence})`}`),
    ...sentences,
    ...commands.map(({ what, command }) => `  ${what}  ${command}`),
    ...(drafts.length > 0
      ? [
          `Drafts for speculative decoding: ${[...new Set(drafts.map(({ repository, kind }) => repository ?? kind))].join(', ')}.`,
        ]
      : []),
    '',
    ...headed(table([heading, ...rows], new Set([1, 4, 5, 6]))),
  ]
}
