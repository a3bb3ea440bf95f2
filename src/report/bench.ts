/** Results of `quench bench` for the terminal, as Markdown and as CSV. */
import { basename } from 'node:path'
import { humanBytes, plural, table } from '../format.js'
import type { Bench, FileSpeed, Speculation, Spread, TestSpeed } from '../speed/index.js'
import { markdownTable, markdownText } from './markdown.js'

/** `pp512`, `tg64@4096`, as named by llama-bench. */
export function testName({ kind, tokens, depth }: Pick<TestSpeed, 'kind' | 'tokens' | 'depth'>): string {
  return `${kind === 'prompt' ? 'pp' : 'tg'}${tokens}${depth > 0 ? `@${depth}` : ''}`
}

/** File names, shortened if they stay distinct. */
function shortNames(paths: readonly string[]): string[] {
  const short = paths.map((path) => basename(path).replace(/\.gguf$/, ''))
  return new Set(short).size === paths.length ? short : [...paths]
}

/** Three significant digits, for tokens per second or milliseconds. */
export function speed(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

const withRange = ({ median, low, high }: Spread): string =>
  `${speed(median)} (${speed(low)} - ${speed(high)})`
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`

/** Greatest range of the repetitions, relative to their median, that says nothing of a busy machine. */
const steady = 0.3

/** A sentence where repetitions differ much; undefined where they do not. */
export function unsteady(files: readonly Pick<FileSpeed, 'tests'>[]): string | undefined {
  const ranges = files.flatMap(({ tests }) =>
    tests.map(({ tokensPerSecond: { median, low, high } }) => (high - low) / median),
  )
  const most = Math.max(0, ...ranges)
  if (most <= steady) return undefined
  return `speeds of the same file differ by up to ${percent(most)} between repetitions, as on a busy machine; measure again when it is idle before you compare them`
}

/** @param width of the terminal; the first line is the heading of a table */
export function benchText(bench: Bench, width = Number.POSITIVE_INFINITY): string[] {
  const { files, machine, settings } = bench
  const tests = files[0].tests
  const names = shortNames(files.map(({ path }) => path))
  const several = files.length > 1
  const speeds = table(
    [
      [
        'file',
        'size',
        'load ms',
        ...tests.flatMap((test) => [testName(test), '', several ? 'x' : '']),
        'tokens/s per GB',
      ],
      ...files.map((file, i) => [
        names[i],
        humanBytes(file.bytes),
        speed(file.loadMs.median),
        ...file.tests.flatMap(({ tokensPerSecond: { median, low, high }, relative }) => [
          speed(median),
          `${speed(low)} - ${speed(high)}`,
          i === 0 ? '' : relative.median.toFixed(2),
        ]),
        perGigabyte(file),
      ]),
    ],
    new Set(Array.from({ length: 4 + 3 * tests.length }, (_, i) => i).slice(1)),
    width,
  )
  const memory = table(
    [
      ['memory', 'weights', 'keys, values', 'compute', 'resident'],
      ...files.map(({ memory: m }, i) => [
        names[i],
        ...[m.weightsBytes, m.kvBytes, m.computeBytes + m.outputBytes, m.residentBytes].map(humanBytes),
      ]),
    ],
    new Set([1, 2, 3, 4]),
    width,
  )
  const drafts = files.flatMap(({ draft }, i) => (draft ? [`${names[i]}: ${draftSentence(draft)}`] : []))
  return [
    ...speeds,
    `pp: prompt, tg: generation, in tokens/s: median of ${plural(settings.repetitions, 'round')}, minimum - maximum; ${setting(bench)}`,
    ...(several ? ['x: speed relative to the first file in the same round, median of the rounds'] : []),
    ...(files.some((file) => perGigabyte(file) !== '') ? [perGigabyteNote] : []),
    ...optional(unsteady(files)),
    '',
    ...memory,
    weightsNote,
    ...(drafts.length > 0 ? ['', ...drafts] : []),
    '',
    `${machine.cpu}, ${plural(machine.cores, 'thread')}, ${humanBytes(machine.memoryBytes)}, ${llamaText(machine)}`,
  ]
}

const optional = (line: string | undefined): string[] => (line === undefined ? [] : [line])

function draftSentence(draft: Speculation): string {
  const { path, acceptance, tokensPerPass, speedUp, tokensPerSecond, identical, prompts } = draft
  return (
    `with ${basename(path)} guessing ${draft.guesses} tokens, ${percent(acceptance)} of the guesses are taken, ` +
    `${tokensPerPass.toFixed(2)} tokens a pass, ${speed(tokensPerSecond.plain.median)} -> ${speed(tokensPerSecond.draft.median)} tokens/s, ` +
    `${speedUp.median.toFixed(2)} times as fast (${speedUp.low.toFixed(2)} - ${speedUp.high.toFixed(2)}); ` +
    `the text is the same for ${identical} of ${prompts} prompts`
  )
}

/** `llama.cpp 0.5.0-dev, commit 0ad4a86 (npm packages 3.22.1)` */
export const llamaText = ({ llamaVersion, llama }: Bench['machine']): string =>
  `llama.cpp ${llamaVersion} (npm packages ${llama})`

function setting({ settings: { threads, kvType, gpuLayers }, files }: Bench): string {
  const used = files.map((file) => file.threads)
  const [least, most] = [Math.min(...used), Math.max(...used)]
  const range = least < most ? `${least} to ${plural(most, 'thread')}` : plural(most, 'thread')
  const gpu = gpuLayers === 0 ? '' : `, ${gpuLayers < 0 ? 'all' : gpuLayers} layers on the GPU`
  return `${range}${threads === null ? ', chosen by the size of the model' : ''}, cache ${kvType}${gpu}`
}

const perGigabyteNote =
  'tokens/s per GB: generation speed at the smallest depth, divided by the file size in GB (1e9 bytes)'
const weightsNote =
  'weights: as llama.cpp holds them, with copies in another layout for faster products, so they may exceed the file size; resident: what the process has grown by'

const perGigabyte = ({ tokensPerSecondPerGigabyte: value }: FileSpeed): string =>
  value === undefined ? '' : speed(value)

export function benchMarkdown(bench: Bench): string[] {
  const { files, machine, settings } = bench
  const names = shortNames(files.map(({ path }) => path))
  const drafted = files.some(({ draft }) => draft)
  const header = [
    'file',
    'size',
    'bits/weight',
    'load, ms',
    ...files[0].tests.map((test) => `${testName(test)}, tokens/s`),
    'tokens/s per GB',
    'memory',
    ...(drafted ? ['acceptance', 'speed-up by draft'] : []),
  ]
  const rows = files.map((file, i) => [
    names[i],
    humanBytes(file.bytes),
    file.bitsPerWeight.toFixed(2),
    speed(file.loadMs.median),
    ...file.tests.map(({ tokensPerSecond }) => withRange(tokensPerSecond)),
    perGigabyte(file),
    humanBytes(neededBytes(file)),
    ...(file.draft ? [percent(file.draft.acceptance), `x ${file.draft.speedUp.median.toFixed(2)}`] : []),
  ])
  const note = `Median (minimum - maximum) of ${plural(settings.repetitions, 'round')}; ${setting(bench)}; ${machine.cpu}, ${plural(machine.cores, 'thread')}; ${llamaText(machine)}. Tokens/s per GB is generation speed at the smallest depth divided by the file size.`
  return [...markdownTable(header, rows), '', markdownText(note)]
}

/** Memory that llama.cpp takes for a file: weights, KV cache, buffers. */
function neededBytes({ memory }: Pick<FileSpeed, 'memory'>): number {
  return memory.weightsBytes + memory.kvBytes + memory.computeBytes + memory.outputBytes
}

/** One line per test of each file (RFC 4180 except for the line ends, which are those of all printed output). */
export function benchCsv({ files }: Bench): string[] {
  const header =
    'path,type,bytes,bits_per_weight,load_ms,weights_bytes,kv_bytes,compute_bytes,output_bytes,resident_bytes,' +
    'test,tokens,depth,tokens_per_second,least,greatest,relative,draft,acceptance,draft_speed_up,draft_identical'
  const lines = files.flatMap((file) =>
    file.tests.map((test) => {
      const { memory, draft } = file
      return [
        file.path,
        file.type,
        file.bytes,
        file.bitsPerWeight,
        file.loadMs.median,
        memory.weightsBytes,
        memory.kvBytes,
        memory.computeBytes,
        memory.outputBytes,
        memory.residentBytes,
        test.kind,
        test.tokens,
        test.depth,
        test.tokensPerSecond.median,
        test.tokensPerSecond.low,
        test.tokensPerSecond.high,
        test.relative.median,
        draft?.path ?? '',
        draft?.acceptance ?? '',
        draft?.speedUp.median ?? '',
        draft?.identical ?? '',
      ]
        .map(csvField)
        .join(',')
    }),
  )
  return [header, ...lines]
}

/** Quoted if necessary; a leading formula sign is disarmed, since file names are untrusted. */
function csvField(value: string | number): string {
  const text = typeof value === 'string' && /^[=+@\t\r\n-]/.test(value) ? `'${value}` : String(value)
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
