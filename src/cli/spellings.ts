/**
 * Options by the names that llama.cpp's tools and earlier releases gave them: arguments are translated before they are parsed, and help
 * shows llama.cpp's names beside ours.
 */

interface Spelling {
  /** Ours. */
  readonly option: string
  /** Those of llama-cli, llama-bench, llama-perplexity and llama-quantize. */
  readonly also: readonly string[]
  /** The only commands where these are meant. */
  readonly commands?: readonly string[]
}

export const spellings: readonly Spelling[] = [
  { option: '--context', also: ['--ctx-size'] },
  { option: '--gpu-layers', also: ['-ngl', '--n-gpu-layers'] },
  { option: '--cache-type-k', also: ['-ctk'] },
  { option: '--cache-type-v', also: ['-ctv'] },
  { option: '--prompt', also: ['--n-prompt'], commands: ['bench', 'compare'] },
  { option: '--generate', also: ['--n-gen'], commands: ['bench', 'compare'] },
  { option: '--depth', also: ['--n-depth'] },
]

/** Names of an option of ours that llama.cpp gives it, as help shows them. */
export const alsoCalled = (option: string | undefined): readonly string[] =>
  spellings.flatMap((spelling) => (spelling.option === option ? spelling.also : []))

/** What follows `--` is left alone. */
export function translated(args: readonly string[]): string[] {
  const end = args.indexOf('--')
  const [command] = args.filter((arg) => !arg.startsWith('-'))
  const own = end < 0 ? args : args.slice(0, end)
  const rest = end < 0 ? [] : args.slice(end)
  return [...own.map((arg, i) => ours(command, arg, own[i + 1])), ...rest]
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

/** `-t` was the type, which is no number; `eval` had names that mean something else in other commands. */
function former(command: string | undefined, arg: string, next: string | undefined): string {
  const typed = command === 'quantize' || command === 'train'
  if (typed && arg === '-t' && next !== undefined && !/^\d+$/.test(next)) return '--type'
  return (command === 'eval' && ofEval.get(arg)) || arg
}
