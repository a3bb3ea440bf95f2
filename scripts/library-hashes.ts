/**
 * Writes src/llama/library-hashes.ts: the SHA-256 of every library of llama.cpp's packages in the pinned release, checked
 * before they are loaded. Run `npx tsx scripts/library-hashes.ts` after a change of the release.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PACKAGE_VERSION } from '../src/llama/index.js'

const run = promisify(execFile)
const platforms = ['linux-x64', 'linux-arm64', 'mac-arm64-metal', 'mac-x64', 'win-x64']

const folder = await mkdtemp(join(tmpdir(), 'quench-hashes-'))
const lines: string[] = []
for (const platform of platforms) {
  const name = `@node-llama-cpp/${platform}@${PACKAGE_VERSION}`
  try {
    await run('npm', ['pack', name, '--pack-destination', folder])
  } catch (error) {
    console.error(`${name} left out: ${(error as Error).message.split('\n')[1] ?? error}`)
    continue
  }
  await run('tar', ['xzf', `node-llama-cpp-${platform}-${PACKAGE_VERSION}.tgz`], { cwd: folder })
  const libraries = join(folder, 'package', 'bins', platform)
  lines.push(`  '${platform}': {`)
  for (const file of (await readdir(libraries)).sort()) {
    if (!/^(lib)?(ggml|llama\.).*\.(so|dylib|dll)$/.test(file)) continue
    const hash = createHash('sha256').update(await readFile(join(libraries, file)))
    lines.push(`    '${file}': '${hash.digest('hex')}',`)
  }
  lines.push('  },')
  await rm(join(folder, 'package'), { recursive: true })
}
await rm(folder, { recursive: true })
await writeFile(
  new URL('../src/llama/library-hashes.ts', import.meta.url),
  `/** SHA-256 of the libraries of each package, by file; made by scripts/library-hashes.ts. */
export const libraryHashes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
${lines.join('\n')}
}
`,
)
