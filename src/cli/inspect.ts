/** `quench inspect`: shows the contents of a GGUF file. */
import { type Command, Option } from 'commander'
import { FileError, UsageError } from '../errors.js'
import type { Inspection, ShortValue } from '../gguf/inspect.js'
import type { GridSummary, LatticeReport } from '../lattice/index.js'
import type { ProvenanceStep } from '../provenance/record.js'
import { helpEnd } from './help.js'
import { modelArgument, onNote } from './models.js'
import { oneMore } from './options.js'
import { jsonOption, progressOption } from './shared.js'
import { humanBytes, humanCount, plain, table } from './terminal/format.js'
import { print, printJson } from './terminal/print.js'
import { clearProgress, eventLine } from './terminal/progress.js'
import { headed, type Line } from './terminal/style.js'
import { describeMade, describeVerification } from './verify.js'

interface InspectOptions {
  tensors?: true
  verify?: true
  source?: readonly string[]
  json?: true
}

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('show what is in a GGUF file or a checkpoint: model, types, size, metadata')
    .argument('<file>', modelArgument('GGUF file, of a split model the first part, or checkpoint'))
    .option('--tensors', 'list every tensor')
    .option(
      '--verify',
      'check a file that quench made: its tensors by their recorded hash, and what it was made from, where that is at hand',
    )
    .addOption(
      new Option(
        '--source <name>',
        'with --verify: a file or folder that it may be made from, or a name of the Hub, whose checksums are asked for; may be repeated',
      ).argParser(oneMore),
    )
    .addOption(progressOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        [
          'Of a name of the Hub only the header is read, at most 2 MB a file; nothing is downloaded.',
          '--verify looks for what the file was made from in the cache of the Hub and beside the file. It exits with 1 where something is not as recorded.',
        ],
        [
          'quench inspect model-Q4_K_M.gguf --tensors',
          'quench inspect hf:org/model-GGUF:Q4_K_M',
          'quench inspect model-Q4_K_M.gguf --verify',
          'quench inspect model-Q4_K_M.gguf --verify --source hf:org/model-GGUF',
        ],
      ),
    )
    .action(async (name: string, { tensors, json, verify, source }: InspectOptions) => {
      if (source && !verify) throw new UsageError('--source is what --verify compares with; add --verify')
      if (verify) {
        await verifyNamed(name, source ?? [], json)
        return
      }
      const { inspectModel } = await import('../names/inspect.js')
      const { inspection: whole, here, made } = await inspectModel(name, { onNote })
      const { tensors: list, ...rest } = whole
      const inspection = { ...rest, tensors: tensors ? list : [] }
      const lattice = here ? await (await import('../lattice/index.js')).detectLattices(rest.path) : undefined
      if (!json) print([...describe(inspection, lattice), ...describeRecord(made)])
      else if (!lattice) printJson(tensors ? inspection : rest)
      else {
        const { tensors: onGrid, ...short } = lattice
        printJson(
          tensors ? { ...inspection, lattice: { ...short, tensors: onGrid } } : { ...rest, lattice: short },
        )
      }
    })
}

async function verifyNamed(name: string, sources: readonly string[], json?: true): Promise<void> {
  const { resolveModel } = await import('../names/resolve.js')
  const { verifyFile } = await import('../names/verify.js')
  const { path, kind, files } = await resolveModel(name, { onNote })
  if (kind === 'checkpoint')
    throw new FileError(name, 'it is a checkpoint; --verify is for GGUF files that quench made')
  if (files.some(({ present }) => !present))
    throw new FileError(name, 'it is not here; download it first with `quench pull`')
  const onProgress = eventLine('checking', (bytes) => `${humanBytes(bytes)}/s`, 'checksum')
  const verification = await verifyFile(path, { sources, onNote, onProgress })
  clearProgress()
  if (json) printJson(verification)
  else print(describeVerification(verification))
  if (!verification.ok) process.exitCode = 1
}

const describeRecord = (made: readonly ProvenanceStep[]): Line[] =>
  made.length === 0 ? [] : ['', ...describeMade(made)]

/** @param lattice undefined if the weights are not available locally */
function describe(inspection: Inspection, lattice?: LatticeReport): Line[] {
  const { name, architecture, parameters, context, vocabulary, type, bytes, bitsPerWeight } = inspection
  const facts: [string, string | undefined][] = [
    ['file', inspection.path],
    ['name', name],
    ['architecture', architecture],
    ['parameters', `${humanCount(parameters)} (${parameters})`],
    ['context', context?.toString()],
    ['vocabulary', vocabulary?.toString()],
    ['quantization', type],
    ['size', `${humanBytes(bytes)} (${bytes} bytes)`],
    ['bits per weight', bitsPerWeight.toFixed(3)],
    ['parts', inspection.files.length > 1 ? inspection.files.join(', ') : undefined],
    ...(lattice?.grids ?? []).map((grid): [string, string] => [
      'on a grid',
      gridText(grid, lattice as LatticeReport),
    ]),
    ...inspection.problems.map((problem): [string, string] => ['cannot be used', problem]),
  ]
  const known = facts.flatMap(([label, value]) => (value === undefined ? [] : [[label, plain(value, 1000)]]))
  const types = inspection.types.map((t) => [
    t.type,
    String(t.tensors),
    humanCount(t.weights),
    humanBytes(t.bytes),
  ])
  const metadata = Object.entries(inspection.metadata).map(([key, value]) => [
    plain(key),
    plain(shown(value), 100),
  ])
  const onGrid = new Map(lattice?.tensors.map((tensor) => [tensor.name, tensor.type ?? 'no type']))
  const tensors = inspection.tensors.map((t) => [
    plain(t.name),
    t.shape.join(' x '),
    t.type,
    humanBytes(t.bytes),
    ...(onGrid.size > 0 ? [onGrid.get(t.name) ?? ''] : []),
  ])
  const sections: Line[][] = [
    table(known, new Set()),
    headed(table([['type', 'tensors', 'weights', 'size'], ...types], new Set([1, 2, 3]))),
    headed(table([['metadata'], ...metadata], new Set())),
  ]
  if (tensors.length > 0)
    sections.push(headed(table([tensorColumns(onGrid.size > 0), ...tensors], new Set([1, 3]))))
  return sections.flatMap((section, i) => (i === 0 ? section : ['', ...section]))
}

const tensorColumns = (grid: boolean): string[] => [
  ...['tensor', 'shape', 'type', 'size'],
  ...(grid ? ['grid held by'] : []),
]

/** E.g. `35 of 36 matrices (92 % of their weights): levels -7 to 7 in groups of 32, ...; Q4_0 holds it`. */
function gridText({ grid, type, matrices, weights }: GridSummary, all: LatticeReport): string {
  const share = (100 * weights) / all.weights
  const holder = type === undefined ? 'no type holds it' : `${type} holds it`
  return `${matrices} of ${all.matrices} matrices (${share.toFixed(share < 99.95 ? 1 : 0)} % of their weights): ${grid}; ${holder}`
}

function shown(value: ShortValue): string {
  if (typeof value !== 'object') return typeof value === 'string' ? value : String(value)
  const { length, first, itemType } = value
  const items = first.map((item) => (typeof item === 'string' ? JSON.stringify(item) : shown(item)))
  return `${length} ${itemType}: ${items.join(', ')}${length > first.length ? ', ...' : ''}`
}
