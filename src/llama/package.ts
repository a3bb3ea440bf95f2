/**
 * Where llama.cpp's shared libraries are: in the npm packages `@node-llama-cpp/<platform>`, which hold them under
 * `bins/<platform>/` and need no install script. The release is pinned, since the structs of `structs.ts` are.
 *
 * `QUENCH_LLAMA_PACKAGE` chooses another build for the same machine, e.g. `linux-x64-cuda` or `win-x64-vulkan`.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { QuenchError, UsageError } from '../errors.js'

/** The release of the packages; it holds llama.cpp v0.5.0. */
export const PACKAGE_VERSION = '3.22.1'

const PLATFORMS: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
}

/** Paths of the libraries to load, and the folder in which ggml looks for its backends. */
export interface LibraryFiles {
  folder: string
  ggmlBase: string
  ggml: string
  llama: string
}

/** Finds the libraries of this machine. @throws QuenchError with the npm command that installs what is missing. */
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
  const files = readdirSync(folder)
  const find = (stem: string): string => {
    const pattern = new RegExp(`^(lib)?${stem}(\\.v?[\\d.]+)?\\.(so|dylib|dll)$`)
    const file = files.find((file) => pattern.test(file))
    if (file === undefined) throw new QuenchError(`${folder} has no ${stem} library: repeat \`${install}\`.`)
    return join(folder, file)
  }
  return { folder, ggmlBase: find('ggml-base'), ggml: find('ggml'), llama: find('llama') }
}
