/** Writes the page of text sources and the licences. */

import type { Source } from './source.js'

const registries = { npm: 'npm', pypi: 'PyPI' } as const

export function sourcesPage(title: string, sets: Readonly<Record<string, readonly Source[]>>): string {
  const tables = Object.entries(sets).map(([set, sources]) => {
    const rows = sources.map(
      ({ registry, name, version, license, takes }) =>
        `| ${name} | ${registries[registry]} ${version} | ${license} | ${takes.map(({ kind, what }) => `${kind}: ${what}`).join('; ')} |`,
    )
    return `## ${set}\n\n| package | version | licence | what was taken |\n|---|---|---|---|\n${rows.join('\n')}\n`
  })
  return `# ${title}\n\nMade by \`scripts/texts/build.ts\`. No source is in two sets. The licences are in LICENSES.txt.\n\n${tables.join('\n')}`
}

/** The packages' licences, each once, under the names of its packages. */
export function licensesPage(
  sources: readonly Source[],
  licensesOf: ReadonlyMap<string, readonly string[]>,
): string {
  const rule = '='.repeat(80)
  const shown = new Map<string, { license: string; names: string[] }>()
  for (const { name } of sources)
    for (const license of licensesOf.get(name) ?? []) {
      // The Apache License's appendix after its terms only explains how to apply it.
      const key = license.split('END OF TERMS AND CONDITIONS')[0].replace(/\W+/g, ' ')
      const entry = shown.get(key) ?? { license, names: [] }
      if (!entry.names.includes(name)) entry.names.push(name)
      shown.set(key, entry)
    }
  return [...shown.values()]
    .map(({ license, names }) => `${rule}\n${names.join(', ')}\n${rule}\n\n${license.replace(/\r/g, '')}\n`)
    .join('\n')
}
