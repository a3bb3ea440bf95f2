/** `quench complete SHELL`: prints a script that completes commands, options, types and files in bash, zsh, fish and PowerShell. */
import { readdirSync } from 'node:fs'
import tab from '@bomb.sh/tab/commander'
import type { Command } from 'commander'
import { fileTypeNames } from '../gguf/file-types.js'
import { ggmlTypes } from '../gguf/types.js'
import { helpEnd } from './help.js'
import { knownKvTypes } from './options.js'
import { changeLogged } from './terminal/print.js'

/** Adds a candidate for the word at the cursor; candidates that do not start with that word are dropped. */
type Offer = (value: string, description: string) => void

const wordsOf = '_get_comp_words_by_ref -n "=:" cur prev words cword'

/** The script for bash in a form that may be read twice, and that does without the package bash-completion. */
const forBash = (script: string): string =>
  script.replace(/^readonly (?=ShellCompDirective)/gm, '').replace(
    wordsOf,
    `if declare -F _get_comp_words_by_ref >/dev/null; then
        ${wordsOf}
    else
        words=("\${COMP_WORDS[@]}")
        cword=$COMP_CWORD
        cur=\${COMP_WORDS[COMP_CWORD]}
    fi`,
  )

/** Must be called after all other commands have been added. */
export function addComplete(program: Command): void {
  const root = tab(program)
  const commands = new Map(program.commands.map((command) => [command.name(), command]))
  for (const [name, completed] of root.commands) {
    for (const argument of completed.arguments.values())
      argument.handler = name === 'quantize' || name === 'train' ? modelsAndTypes : models
    for (const { long, flags } of commands.get(name.split(' ')[0])?.options ?? []) {
      const option = completed.options.get(long?.slice(2) ?? '')
      const offer = offers(flags)
      if (option && offer) option.handler = offer
    }
  }
  commands
    .get('complete')
    ?.description('print a shell completion script')
    .hook('preAction', ({ args: [shell] }) => {
      if (shell === 'bash') changeLogged(forBash)
    })
    .addHelpText(
      'after',
      helpEnd(
        ['The script asks the command `quench` itself, which has to be in the PATH.'],
        ['quench complete bash > ~/.local/share/bash-completion/completions/quench', 'quench complete zsh'],
      ),
    )
}

/** Values of an option, by its placeholder. */
function offers(flags: string): ((offer: Offer) => void) | undefined {
  if (/<(file|folder|paths|files)\b/.test(flags)) return files
  if (/--(type|types|train) </.test(flags)) return words(fileTypeNames)
  if (/--(output-tensor|token-embedding)-type </.test(flags))
    return words(Array.from(ggmlTypes.values(), ({ name }) => name))
  return /--(kv-type|cache-type-[kv]) </.test(flags) ? words(knownKvTypes) : undefined
}

const words = (values: readonly string[]) => (offer: Offer) => {
  for (const value of values) offer(value, '')
}

const files = (offer: Offer): void => list(offer, () => true)
const models = (offer: Offer): void => list(offer, (name) => /\.gguf$/i.test(name))

/** A type may follow the model. */
const modelsAndTypes = (offer: Offer): void => {
  words(fileTypeNames)(offer)
  models(offer)
}

/**
 * Files and folders that start with the word at the cursor. A single folder is replaced by its contents, so that the shell does not end
 * the word there.
 */
function list(offer: Offer, wanted: (name: string) => boolean): void {
  const word = process.argv.at(-1) ?? ''
  let found = within(word, wanted)
  while (found.length === 1 && found[0].endsWith('/')) {
    const inside = within(found[0], wanted)
    if (inside.length === 0) break
    found = inside
  }
  for (const path of found) offer(path, '')
}

function within(word: string, wanted: (name: string) => boolean): string[] {
  const folder = word.slice(0, word.lastIndexOf('/') + 1)
  try {
    return readdirSync(folder || '.', { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || wanted(entry.name))
      .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .filter((path) => path.startsWith(word))
  } catch {
    return []
  }
}
