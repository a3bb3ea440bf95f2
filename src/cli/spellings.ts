/**
 * Aliases of options from llama.cpp's tools and earlier releases. Arguments are translated before they are parsed, and help shows
 * llama.cpp's names beside ours.
 */

interface Spelling {
  /** Our name. */
  readonly option: string
  /** Names in llama-cli, llama-bench, llama-perplexity and llama-quantize. */
  readonly also: readonly string[]
  /** The commands that the aliases are limited to. */
  readonly commands?: readonly string[]
  /** Whether help leaves them out, since they have another meaning in another command. */
  readonly hidden?: boolean
}

export const spellings: readonly Spelling[] = [
  { option: '--context', also: ['--ctx-size'] },
  { option: '--gpu-layers', also: ['-ngl', '--n-gpu-layers'] },
  { option: '--cache-type-k', also: ['-ctk'] },
  { option: '--cache-type-v', also: ['-ctv'] },
  { option: '--data', also: ['-f', '--file'], commands: ['eval', 'train', 'imatrix'], hidden: true },
  { option: '--prompt', also: ['--n-prompt'], commands: ['bench', 'compare'] },
  { option: '--generate', also: ['--n-gen'], commands: ['bench', 'compare'] },
  { option: '--depth', also: ['--n-depth'] },
]

/** What has another form here. */
const elsewhere: readonly {
  readonly name: string
  readonly commands: readonly string[]
  readonly hint: string
}[] = [
  ...['--hellaswag', '--winogrande', '--multiple-choice'].map((name) => ({
    name,
    commands: ['eval'],
    hint: 'questions are given with --tasks FILE',
  })),
  { name: '--kl-divergence', commands: ['eval'], hint: 'it is always measured, from --reference FILE' },
  {
    name: '--kl-divergence-base',
    commands: ['eval'],
    hint: 'predictions are written with --save-reference FILE and read with --reference FILE',
  },
  { name: '--epochs', commands: ['train'], hint: 'its length is given with --time or --steps' },
  ...['--lr', '--learning-rate'].map((name) => ({
    name,
    commands: ['train'],
    hint: 'rates are given with --weight-rate and --scale-rate',
  })),
  { name: '-o', commands: ['bench'], hint: 'the form is chosen with --markdown, --csv or --json' },
  { name: '--output', commands: ['bench'], hint: 'the form is chosen with --markdown, --csv or --json' },
]

/** What to write instead of an option that a command does not have. */
export function hintFor(command: string, option: string): string | undefined {
  return elsewhere.find(({ name, commands }) => name === option && commands.includes(command))?.hint
}

/** llama.cpp's names of an option, for help. */
export const alsoCalled = (option: string | undefined): readonly string[] =>
  spellings.flatMap((spelling) => (spelling.option === option && !spelling.hidden ? spelling.also : []))

/** Commands whose models are arguments, which llama.cpp's tools name with `-m`. */
const modelsAsArguments = new Set(['eval', 'bench', 'train', 'imatrix', 'compare', 'inspect'])

/** Arguments after `--` are left unchanged. */
export function translated(args: readonly string[]): string[] {
  const end = args.indexOf('--')
  const [command = ''] = args.filter((arg) => !arg.startsWith('-'))
  const named = (arg: string): boolean =>
    modelsAsArguments.has(command) && (arg === '-m' || arg === '--model')
  const own = (end < 0 ? args : args.slice(0, end)).filter((arg) => !named(arg))
  const rest = end < 0 ? [] : args.slice(end)
  const spelt = own.map((arg, i) => ours(command, arg, own[i + 1]))
  return [...(chunked.has(command) ? inTokens(spelt) : spelt), ...rest]
}

const chunked = new Set(['eval', 'imatrix'])
/** Of both commands. */
const presetContext = 512

/** `--chunks`, a number of windows, as `--tokens`. What is not a number is left for the parser to refuse. */
function inTokens(args: readonly string[]): string[] {
  const after = args[args.findLastIndex((arg) => arg === '-c' || arg === '--context') + 1] ?? ''
  const joined = args.findLast((arg) => /^(-c|--context=)\d+$/.test(arg))?.replace(/^\D+/, '')
  const context = Number(joined ?? (/^\d+$/.test(after) ? after : presetContext))
  const tokens = (chunks: string) => (/^\d+$/.test(chunks) ? String(Number(chunks) * context) : chunks)
  return args.map((arg, i) => {
    if (args[i - 1] === '--chunks') return tokens(arg)
    if (arg.startsWith('--chunks=')) return `--tokens=${tokens(arg.slice('--chunks='.length))}`
    return arg === '--chunks' ? '--tokens' : arg
  })
}

function ours(command: string | undefined, arg: string, next: string | undefined): string {
  const [, name, value = ''] = /^(--[a-z-]+)(=.*)$/s.exec(arg) ?? [arg, arg]
  const found = spellings.find(
    ({ also, commands }) => also.includes(name) && (commands?.includes(command ?? '') ?? true),
  )
  return found ? `${found.option}${value}` : former(command, arg, next)
}

const ofEval: ReadonlyMap<string, string> = new Map([
  ['-r', '--reference'],
  ['--generate', '--continue'],
  ['--generate-tokens', '--continue-tokens'],
])

/** In earlier releases `-t` was the type, which is not a number, and `eval` had names that have another meaning in other commands. */
function former(command: string | undefined, arg: string, next: string | undefined): string {
  const typed = command === 'quantize' || command === 'train'
  if (typed && arg === '-t' && next !== undefined && !/^\d+$/.test(next)) return '--type'
  return (command === 'eval' && ofEval.get(arg)) || arg
}
