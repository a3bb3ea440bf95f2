/** `quench cache`: lists and clears what is kept between runs. */
import type { Command } from 'commander'
import type { CacheEntry, CacheKind, CacheListing } from '../cache.js'
import { helpEnd } from './help.js'
import { jsonOption } from './shared.js'
import { humanBytes, table } from './terminal/format.js'
import { print, printJson } from './terminal/print.js'
import { headed, type Line } from './terminal/style.js'

interface Options {
  json?: true
}

export function addCache(program: Command): void {
  const cache = program
    .command('cache')
    .description('list the texts, measurements and converted checkpoints that are kept between runs')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        ['The folder is QUENCH_CACHE, else quench in XDG_CACHE_HOME or ~/.cache.'],
        ['quench cache', 'quench cache clear'],
      ),
    )
    .action(({ json }: Options) => list(json))
  cache
    .command('list')
    .alias('ls')
    .description('list what is kept, as `quench cache` alone does')
    .addOption(jsonOption())
    .addHelpText('after', helpEnd([], ['quench cache list']))
    .action((_: Options, command: Command) => list(command.optsWithGlobals().json))
  cache
    .command('clear')
    .description('remove what quench keeps in the cache folder; refused while another quench uses it')
    .addOption(jsonOption())
    .addHelpText('after', helpEnd([], ['quench cache clear']))
    .action(async (_: Options, command: Command) => {
      const { clearCache } = await import('../cache.js')
      const cleared = await clearCache()
      if (command.optsWithGlobals().json) printJson(cleared)
      else print([`${humanBytes(cleared.bytes)} removed from ${cleared.folder}`])
    })
}

async function list(json?: true): Promise<void> {
  const { listCache } = await import('../cache.js')
  const listing = listCache()
  if (json) printJson(listing)
  else print(describe(listing))
}

const kinds: Record<CacheKind, string> = {
  text: 'texts that models wrote',
  converted: 'converted checkpoints',
  uploads: 'parts of unfinished uploads',
  measurements: 'measurements of compare',
  catalogue: 'refreshed catalogue',
  other: 'not of quench',
}

function describe({ folder, bytes, entries }: CacheListing): Line[] {
  if (entries.length === 0) return [`nothing is kept in ${folder}`]
  const rows = Object.entries(kinds).flatMap(([kind, label]) => {
    const own = entries.filter((entry) => entry.kind === kind)
    return own.length === 0 ? [] : [rowOf(label, own)]
  })
  const lines = table([['kept', 'entries', 'size', 'last used'], ...rows], new Set([1, 2]))
  return [...headed(lines), `${humanBytes(bytes)} in ${folder}`]
}

function rowOf(label: string, entries: readonly CacheEntry[]): string[] {
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
  const [last] = entries
    .map(({ lastUse }) => lastUse)
    .sort()
    .reverse()
  return [label, String(entries.length), humanBytes(bytes), last.slice(0, 10)]
}
