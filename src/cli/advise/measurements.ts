/** `quench measurements`: exports and imports stored measurements. */
import { type Command, Option } from 'commander'
import type { Store } from '../../compare/store.js'
import { helpEnd } from '../help.js'
import { jsonOption } from '../shared.js'
import { print, printJson, printVerbatim } from '../terminal/print.js'

interface Options {
  output?: string
  origin?: string
  store?: string
  all?: true
  json?: true
}

const storeOption = (): Option =>
  new Option('--store <file>', 'database of measurements (default: in the cache folder)')

export function addMeasurements(program: Command): void {
  const measurements = program
    .command('measurements')
    .description('share measurements of files, or take over those of others')
    .addOption(jsonOption())
    .addOption(storeOption())
    .addHelpText('after', helpEnd([], ['quench measurements']))
    .action(async ({ json, store: path }: Options) => {
      const counts = await withStore(path, async (store) => {
        const { importedMeasurements } = await import('../../advise/measurements/import.js')
        const imported = importedMeasurements(store)
        const origins = [...new Set(imported.map(({ origin }) => origin ?? 'not stated'))].sort()
        return { own: store.list('evaluate').length, imported: imported.length, origins }
      })
      if (json) printJson(counts)
      else
        print([
          `${counts.own} own, ${counts.imported} imported${counts.origins.length > 0 ? ` from ${counts.origins.join(', ')}` : ''}`,
        ])
    })
  measurements
    .command('export')
    .description('write measurements as JSON lines')
    .option('-o, --output <file>', 'file to write (default: standard output)')
    .option('--all', 'those that were imported too')
    .addOption(storeOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      helpEnd(
        ['A line holds hashes, types, figures, the processor and versions; no path and no text.'],
        ['quench measurements export -o measurements.jsonl'],
      ),
    )
    .action(async (_: Options, command: Command) => {
      const { output, all, store: path, json } = command.optsWithGlobals<Options>()
      const records = await withStore(path, async (store) => {
        const { ownMeasurements } = await import('../../advise/measurements/export.js')
        const { importedMeasurements } = await import('../../advise/measurements/import.js')
        return [...(await ownMeasurements(store)), ...(all ? importedMeasurements(store) : [])]
      })
      const lines = records.map((record) => JSON.stringify(record))
      if (output !== undefined) {
        const { withOutputs } = await import('../../outputs.js')
        const { atomicWrite } = await import('../../files.js')
        const files = { writes: [{ path: output, by: '--output' }], reads: [] }
        await withOutputs(files, () => atomicWrite(output, lines.map((line) => `${line}\n`).join('')))
        if (json) printJson({ path: output, measurements: records.length })
        else print([`${records.length} measurements written to ${output}`])
      } else if (json) printJson(records)
      else if (lines.length > 0) printVerbatim(lines)
    })
  measurements
    .command('import')
    .description('take over measurements of others; your own outweigh them')
    .argument('<file>', 'JSON lines of quench measurements export')
    .option('--origin <name>', 'whose they are (default: the name of the file)')
    .addOption(storeOption())
    .addOption(jsonOption())
    .addHelpText('after', helpEnd([], ['quench measurements import measurements.jsonl --origin friend']))
    .action(async (file: string, _: Options, command: Command) => {
      const { origin, store: path, json } = command.optsWithGlobals<Options>()
      const { importMeasurements, readMeasurements } = await import('../../advise/measurements/import.js')
      const records = await readMeasurements(file, origin)
      const imported = await withStore(path, async (store) => importMeasurements(store, records))
      const result = { measurements: records.length, imported }
      if (json) printJson(result)
      else print([`${imported} of ${records.length} measurements are new`])
    })
}

/** Imports the store lazily, so that SQLite is only loaded when needed. */
async function withStore<T>(path: string | undefined, work: (store: Store) => Promise<T>): Promise<T> {
  return (await import('../../compare/store.js')).Store.with(path, work)
}
