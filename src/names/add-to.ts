/**
 * Makes a file available in the local Ollama or LM Studio.
 *
 *   Ollama      `ollama create` with a Modelfile that names the file: only Ollama knows which of its prompt templates fits the model's
 *   LM Studio   the file in models/PUBLISHER/MODEL, as `lms import` has it: a hard link, or a copy where the disk is another one
 */
import { spawn } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { copyFile, link, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { FileError, QuenchError, UsageError } from '../errors.js'
import { commitTemporary, discardTemporary, systemError, temporaryPath } from '../files.js'
import { makeFolder } from '../folders.js'
import { partsByName } from '../gguf/split.js'
import { cachedFile } from '../hub/cache.js'
import { checkFreeSpace } from '../reserve.js'
import { statIfThere } from '../system-errors.js'
import { typeByName } from './choose.js'
import { isOllamaName, lmStudioHome, lmStudioPlace, ollamaModel } from './stores.js'

export const stores = ['ollama', 'lm-studio'] as const
export type Store = (typeof stores)[number]

/** What makes a model available. */
export type Addition =
  | {
      readonly store: 'ollama'
      /** What Ollama will call it, e.g. `gemma-3-270m:q4_0`. */
      readonly name: string
      readonly modelfile: string
    }
  | {
      readonly store: 'lm-studio'
      /** `publisher/model` */
      readonly name: string
      readonly files: readonly PlacedFile[]
    }

interface PlacedFile {
  readonly from: string
  readonly to: string
  readonly bytes: number
  /** Whether this very file is there already. */
  readonly present: boolean
}

/**
 * @param path a GGUF file, of a split model the first part
 * @param title what the file is called
 * @param asked name in the store instead of one that follows from the title
 * @throws UsageError for a name that is none, FileError for one that is taken, and for what the store cannot use
 */
export async function planAddition(
  store: Store,
  path: string,
  title: string,
  asked?: string,
): Promise<Addition> {
  const stem = title.replace(/(-\d{5}-of-\d{5})?(\.gguf)?$/i, '')
  return store === 'ollama' ? toOllama(path, stem, asked) : toLmStudio(path, stem, asked)
}

const partsOf = (path: string): string[] => [...new Set(partsByName(path))].toSorted()

async function toOllama(path: string, stem: string, asked: string | undefined): Promise<Addition> {
  if (partsOf(path).length > 1)
    throw new FileError(
      path,
      'Ollama takes no split models; make one file of it with `quench quantize` and the type COPY',
    )
  const name = asked ?? ollamaName(stem)
  if (!isOllamaName(name))
    throw new UsageError(`--name ${name} is no name for Ollama; give one such as model or model:q4_0`)
  if ((await ollamaModel(name)) !== undefined)
    throw new FileError(
      path,
      `Ollama has ${name} already; choose another name with --name, or remove that with \`ollama rm\``,
    )
  const file = resolve(path)
  if (/\p{Cc}/u.test(file)) throw new FileError(path, 'no Modelfile can name it; rename it')
  return { store: 'ollama', name, modelfile: `FROM ${file}\n` }
}

/** `gemma-3-270m-Q4_0` becomes `gemma-3-270m:q4_0`. */
function ollamaName(stem: string): string {
  const plain = (text: string): string =>
    text
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/^[._-]+/, '')
  const type = typeByName(stem)
  return type === undefined ? plain(stem) : `${plain(withoutType(stem, type)) || 'model'}:${plain(type)}`
}

function withoutType(stem: string, type: string): string {
  const at = stem.toUpperCase().lastIndexOf(type)
  return at < 0 ? stem : `${stem.slice(0, at).replace(/[-._]+$/, '')}${stem.slice(at + type.length)}`
}

async function toLmStudio(path: string, stem: string, asked: string | undefined): Promise<Addition> {
  const plain = withoutType(stem, typeByName(stem) ?? '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[.-]+/, '')
  const name = asked ?? cachedFile(path)?.id ?? `imported-models/${plain || 'model'}`
  const folder = lmStudioPlace(name)
  if (folder === undefined)
    throw new UsageError(`--name ${name} is no name for LM Studio; give one such as publisher/model`)
  const parts = partsOf(path)
  const files = parts.map((from, i): PlacedFile => {
    const ending = parts.length === 1 ? '' : (/-\d{5}-of-\d{5}(?=\.gguf$)/i.exec(from)?.[0] ?? `-${i}`)
    const to = join(folder, `${stem.replace(/[/\\]/g, '-')}${ending}.gguf`)
    const [found, there] = [statIfThere(from), statIfThere(to)]
    const present = there !== undefined && there.ino === found?.ino && there.dev === found.dev
    if (there && !present)
      throw new FileError(to, 'LM Studio has another file of this name; choose another name with --name')
    return { from, to, bytes: found?.size ?? 0, present }
  })
  return { store: 'lm-studio', name, files }
}

/** @throws FileError, QuenchError of one sentence */
export async function carryOut(addition: Addition): Promise<void> {
  if (addition.store === 'ollama') await createInOllama(addition.name, addition.modelfile)
  else await placeFiles(addition.files)
}

async function placeFiles(files: readonly PlacedFile[]): Promise<void> {
  const home = lmStudioHome()
  if (!existsSync(home))
    throw new FileError(home, 'LM Studio has no folder here; start it once, so that it makes its folder')
  for (const { from, to, bytes, present } of files) {
    if (present) continue
    makeFolder(join(to, '..'))
    const temporary = temporaryPath(to)
    try {
      await link(realpathSync(from), temporary).catch(async () => {
        await checkFreeSpace(to, bytes)
        await copyFile(from, temporary)
      })
      await commitTemporary(temporary, to)
    } catch (error) {
      await discardTemporary(temporary)
      throw systemError(to, error)
    }
  }
}

/** What it prints goes to standard error. */
async function createInOllama(name: string, modelfile: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'quench-'))
  const file = join(folder, 'Modelfile')
  try {
    await writeFile(file, modelfile)
    const code = await new Promise<number | null>((resolve, reject) => {
      const child = spawn('ollama', ['create', name, '-f', file], { cwd: homedir(), stdio: ['ignore', 2, 2] })
      child.once('error', (error) =>
        reject(
          new QuenchError(
            'the program `ollama` cannot be run; install Ollama, or give its server the Modelfile that is printed without --yes',
            { cause: error },
          ),
        ),
      )
      child.once('exit', resolve)
    })
    if (code !== 0)
      throw new QuenchError(
        `\`ollama create ${name}\` failed${code === null ? '' : ` with exit code ${code}`}; see above why`,
      )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
