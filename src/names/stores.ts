/**
 * Models of the local stores of Ollama and LM Studio, which are only read here; add-to.ts adds to them.
 *
 *   Ollama      manifests/HOST/NAMESPACE/MODEL/TAG is JSON with layers; the model is blobs/sha256-DIGEST, a GGUF file without an ending
 *   LM Studio   PUBLISHER/MODEL/FILE.gguf
 *
 * Sources: docs/faq of Ollama (OLLAMA_MODELS), types/model/name.go; `lms import` of LM Studio.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { FileError } from '../errors.js'
import { readInput } from '../input-file.js'
import { statIfThere } from '../system-errors.js'

const mostManifest = 2 ** 20
const modelLayer = 'application/vnd.ollama.image.model'
const [defaultHost, defaultNamespace, defaultTag] = ['registry.ollama.ai', 'library', 'latest']

export const ollamaFolder = (): string => process.env.OLLAMA_MODELS || join(homedir(), '.ollama', 'models')

/** LM Studio's own folder, as its programs find it: by a file that names it, else the former or the present default. */
export function lmStudioHome(): string {
  try {
    const named = readFileSync(join(homedir(), '.lmstudio-home-pointer'), 'utf8').trim()
    if (isAbsolute(named) && existsSync(named)) return named
  } catch {
    // It was never started, or is older than the file.
  }
  const former = join(homedir(), '.cache', 'lm-studio')
  const present = join(homedir(), '.lmstudio')
  return existsSync(former) && !existsSync(present) ? former : present
}

/** LM Studio's folder of models: as its settings say, else within its own. */
export function lmStudioFolder(): string {
  const home = lmStudioHome()
  try {
    const settings: unknown = JSON.parse(readFileSync(join(home, 'settings.json'), 'utf8'))
    const folder = (settings as { downloadsFolder?: unknown } | null)?.downloadsFolder
    if (typeof folder === 'string' && folder !== '') return folder
  } catch {
    // It is not installed, or says nothing.
  }
  return join(home, 'models')
}

/**
 * The GGUF file of a model of Ollama, e.g. `gemma3:270m` or `hf.co/org/model:Q4_K_M`.
 * @returns undefined if Ollama has no model of that name
 * @throws FileError for a manifest that names no file
 */
export async function ollamaModel(name: string): Promise<string | undefined> {
  const manifest = manifestPath(name)
  if (manifest === undefined || !statIfThere(manifest)?.isFile()) return undefined
  return manifestModel(manifest, join(ollamaFolder(), 'blobs'))
}

/** Whether Ollama takes a name for a model. */
export const isOllamaName = (name: string): boolean => manifestPath(name) !== undefined

/** Undefined for what is no name. */
function manifestPath(name: string): string | undefined {
  const [, path, tag = defaultTag] = /^([^:]+(?::\d+(?=\/))?[^:]*)(?::([^/:]+))?$/.exec(name) ?? []
  const parts = path?.split('/') ?? []
  if (parts.length === 0 || parts.length > 3) return undefined
  const [model, namespace = defaultNamespace, host = defaultHost] = parts.reverse()
  const all = [host, namespace, model, tag]
  if (!all.every((each) => /^[A-Za-z0-9_][A-Za-z0-9._:-]{0,349}$/.test(each))) return undefined
  return join(ollamaFolder(), 'manifests', ...all)
}

/** The file that a manifest names. @throws FileError */
async function manifestModel(path: string, blobs: string): Promise<string> {
  const bad = (problem: string) =>
    new FileError(path, `${problem}; fetch the model again with \`ollama pull\``)
  let manifest: unknown
  try {
    manifest = JSON.parse((await readInput(path, mostManifest)).toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) throw bad("this manifest of Ollama's is not JSON")
    throw error
  }
  const { layers } = (manifest ?? {}) as { layers?: unknown }
  const found = Array.isArray(layers)
    ? layers.find((layer: unknown) => (layer as { mediaType?: unknown } | null)?.mediaType === modelLayer)
    : undefined
  const digest: unknown = found?.digest
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(typeof digest === 'string' ? digest : '') ?? []
  if (hex === undefined) throw bad("this manifest of Ollama's names no model")
  const blob = join(blobs, `sha256-${hex}`)
  if (!existsSync(blob)) throw bad(`its model ${blob} is missing`)
  return blob
}

/** Names of Ollama's models as `ollama list` has them. */
export function ollamaNames(): string[] {
  const root = join(ollamaFolder(), 'manifests')
  return filesIn(root, 4).map((parts) => {
    const [host, namespace, model, tag] = parts
    const own = host === defaultHost
    return `${own ? '' : `${host}/`}${own && namespace === defaultNamespace ? '' : `${namespace}/`}${model}:${tag}`
  })
}

/** The folder of a model of LM Studio, whether it is there or not; undefined for what is no name. */
export function lmStudioPlace(name: string): string | undefined {
  const parts = name.split('/')
  const known = parts.length === 2 && parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}$/.test(part))
  return known ? join(lmStudioFolder(), ...parts) : undefined
}

/** The folder of a model of LM Studio; undefined if it has none of that name. */
export function lmStudioModel(name: string): string | undefined {
  const folder = lmStudioPlace(name)
  if (folder === undefined) return undefined
  return filesIn(folder, 1).length === 0 ? undefined : folder
}

/** `publisher/model` of every model of LM Studio. */
export const lmStudioNames = (): string[] => [
  ...new Set(filesIn(lmStudioFolder(), 3).map(([publisher, model]) => `${publisher}/${model}`)),
]

/** Paths of the files that lie so deep below a folder, in parts. */
function filesIn(folder: string, depth: number): string[][] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .flatMap((name) => {
        const found = statSync(join(folder, name), { throwIfNoEntry: false })
        if (depth === 1) return found?.isFile() ? [[name]] : []
        if (!found?.isDirectory()) return []
        return filesIn(join(folder, name), depth - 1).map((rest) => [name, ...rest])
      })
  } catch {
    return []
  }
}
