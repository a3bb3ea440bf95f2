/**
 * Locates llama.cpp's shared libraries: in the npm packages `@node-llama-cpp/<platform>`, under `bins/<platform>/`; they need
 * no install script. The release is pinned, since the structs of `structs.ts` are.
 *
 * `QUENCH_LLAMA_PACKAGE` selects another build for the same machine, e.g. `linux-x64-cuda` or `win-x64-vulkan`.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { QuenchError, UsageError } from '../errors.js'
import { libraryHashes } from './library-hashes.js'

/** The release of the packages, which contains llama.cpp v0.5.0. */
export const PACKAGE_VERSION = '3.22.1'

const PLATFORMS: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
}

/** Paths of the libraries to load. */
export interface LibraryFiles {
  folder: string
  ggmlBase: string
  ggml: string
  llama: string
  /** Builds of the CPU backend for different processors, which are not compared yet; undefined if ggml chooses from the folder. */
  cpus?: string[]
  /** Compares one of them with its hash. @throws QuenchError */
  check: (path: string) => void
}

/**
 * Finds the libraries of this machine and compares them with the release's hashes, if the package has any. Builds of the CPU backend
 * are to be compared by `check` before they are loaded.
 * @throws QuenchError with the npm command that installs the missing package
 */
export function findLibraries(wanted = process.env.QUENCH_LLAMA_PACKAGE): LibraryFiles {
  const machine = `${process.platform}-${process.arch}`
  const platform = wanted || PLATFORMS[machine]
  if (platform === undefined)
    throw new QuenchError(`llama.cpp is not packaged for this machine (${machine}).`)
  if (!/^[a-z0-9-]+$/.test(platform)) {
    throw new UsageError(`QUENCH_LLAMA_PACKAGE must be a platform such as linux-x64-cuda, not "${platform}".`)
  }
  const name = `@node-llama-cpp/${platform}`
  const install = `npm install ${name}@${PACKAGE_VERSION}`

  let root: string
  try {
    root = dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (cause) {
    throw new QuenchError(`llama.cpp is missing: install it with \`${install}\`.`, { cause })
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  if (version !== PACKAGE_VERSION) {
    throw new QuenchError(
      `${name} is version ${version}, and this quench needs ${PACKAGE_VERSION}: \`${install}\`.`,
    )
  }

  const folder = join(root, 'bins', platform)
  const hashes = libraryHashes[platform]
  const files = hashes ? Object.keys(hashes) : readdirSync(folder)
  const find = (stem: string): string => {
    const named = (version: string) => new RegExp(`^(lib)?${stem}${version}\\.(so|dylib|dll)$`)
    const file =
      files.find((file) => named('\\.v?\\d[\\d.]*').test(file)) ?? files.find((file) => named('').test(file))
    if (file === undefined) throw new QuenchError(`${folder} has no ${stem} library: repeat \`${install}\`.`)
    return join(folder, file)
  }
  const check = (path: string): void => {
    if (hashes) checkHash(path, hashes[basename(path)], install)
  }
  const found = { folder, ggmlBase: find('ggml-base'), ggml: find('ggml'), llama: find('llama'), check }
  if (!hashes) return found
  for (const path of [found.ggmlBase, found.ggml, found.llama]) check(path)
  return {
    ...found,
    cpus: files.filter((file) => file.includes('ggml-cpu')).map((file) => join(folder, file)),
  }
}

/** The package that is loaded unchecked: requested by `QUENCH_LLAMA_PACKAGE`, with no known hashes. */
export function uncheckedPackage(wanted = process.env.QUENCH_LLAMA_PACKAGE): string | undefined {
  return wanted && !libraryHashes[wanted] ? `@node-llama-cpp/${wanted}` : undefined
}

function checkHash(path: string, hash: string, install: string): void {
  let found: string
  try {
    found = createHash('sha256').update(readFileSync(path)).digest('hex')
  } catch (cause) {
    throw new QuenchError(`${path} cannot be read: repeat \`${install}\`.`, { cause })
  }
  if (found !== hash)
    throw new QuenchError(
      `${path} is not the library of release ${PACKAGE_VERSION}, so it is not loaded: remove its package and repeat \`${install}\`.`,
    )
}
