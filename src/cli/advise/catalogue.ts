/** `quench catalogue`: the families that advice knows, and refreshing them from the Hub. */
import type { Command } from 'commander'
import type { Catalogue } from '../../advise/catalogue/types.js'
import type { CatalogueUpdate } from '../../advise/catalogue/update.js'
import { helpEnd } from '../help.js'
import { onNote } from '../models.js'
import { jsonOption, progressOption } from '../shared.js'
import { humanCount, table } from '../terminal/format.js'
import { print, printJson, printWarning, reportFailures } from '../terminal/print.js'
import { clearProgress, eventLine } from '../terminal/progress.js'
import { headed, type Line } from '../terminal/style.js'

interface Options {
  dryRun?: true
  json?: true
}

export function addCatalogue(program: Command): void {
  const catalogue = program
    .command('catalogue')
    .description('list the model families that advise knows, or refresh them from the Hub')
    .addOption(jsonOption())
    .addHelpText('after', helpEnd([], ['quench catalogue']))
    .action(async ({ json }: Options) => {
      const { loadCatalogue } = await import('../../advise/catalogue/catalogue.js')
      const all = await loadCatalogue()
      if (all.problem !== undefined) printWarning(`What was refreshed is not used: ${all.problem}`)
      if (json) printJson(all)
      else print(described(all))
    })
  catalogue
    .command('update')
    .description('refresh families from the headers and listings of their repositories, into the cache')
    .argument('[families...]', 'families, or lines such as gemma-3 (default: all)')
    .option('--dry-run', 'say what would change, and write nothing')
    .addOption(jsonOption())
    .addOption(progressOption())
    .addHelpText(
      'after',
      helpEnd(
        [
          'Only repositories that the catalogue names are asked for, of each family one header of at most 2 MB, and lists of QAT repositories of the owners that it names. What is written follows the schema of the catalogue and lies in the cache folder; `quench cache clear` removes it.',
        ],
        ['quench catalogue update', 'quench catalogue update gemma-3-12b --dry-run'],
      ),
    )
    .action(async (names: string[], _: Options, command: Command) => {
      const { dryRun, json } = command.optsWithGlobals<Options>()
      const { updateCatalogue } = await import('../../advise/catalogue/update.js')
      const { familyIds } = await import('../../advise/catalogue/names.js')
      const { loadCatalogue } = await import('../../advise/catalogue/catalogue.js')
      const update = await updateCatalogue({
        ...(names.length > 0 && { families: familyIds(await loadCatalogue(), names) }),
        ...(dryRun && { dryRun }),
        onNote,
        onProgress: eventLine('asking the Hub', (rate) => `${rate.toFixed(1)} families/s`, 'catalogue'),
      })
      clearProgress()
      reportFailures(update.failures)
      if (json) printJson(update)
      else print(summary(update, dryRun ?? false))
    })
}

function described({ families, gpus, losses, made, updated }: Catalogue): Line[] {
  const refreshed = new Set(updated?.families)
  const rows = families.map(({ id, parameters, licence, qat = [], drafts = [], context, read }) => [
    ...[id, humanCount(parameters), context === undefined ? '' : humanCount(context), licence],
    [...new Set(qat.map(({ type = 'other' }) => type))].join(', '),
    String(drafts.length),
    read,
    refreshed.has(id) ? 'the Hub' : 'shipped',
  ])
  const heading = ['family', 'weights', 'context', 'licence', 'QAT', 'drafts', 'read', 'from']
  return [
    ...headed(table([heading, ...rows], new Set([1, 2, 5]))),
    '',
    `${families.length} families, ${gpus.length} graphics cards and chips, ${losses.length} published losses; the youngest facts are of ${made}`,
  ]
}

function summary({ refreshed, changed, path, failures, made }: CatalogueUpdate, dryRun: boolean): Line[] {
  const rows = changed.flatMap(({ id, changes }) =>
    changes.map(({ field, before, now }) => [id, field, String(before ?? ''), String(now ?? 'gone')]),
  )
  const told = `${refreshed} families read from the Hub on ${made}, ${changed.length} of them changed`
  return [
    ...(rows.length > 0
      ? [...headed(table([['family', 'what', 'before', 'now'], ...rows], new Set())), '']
      : []),
    `${told}${failures.length > 0 ? `; ${failures.length} stay as they were` : ''}`,
    path !== undefined
      ? `written to ${path}`
      : dryRun
        ? 'nothing was written, as asked'
        : 'nothing was written',
  ]
}
