/** Writes down where the texts come from. */

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
  return `# ${title}\n\nMade by \`scripts/texts/build.ts\`. No source is in two sets.\n\n${tables.join('\n')}`
}
