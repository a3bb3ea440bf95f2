/** GGUF files of folders, and of the stores of Hugging Face's tools, LM Studio and Ollama. They are read and never written. */
import { type Dirent, existsSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemError } from '../files.js'
import { hubSettings } from '../hub/settings.js'
import { lmStudioFolder, ollamaModel, ollamaNames } from '../names/stores.js'

const mostFiles = 2000
const mostDepth = 6

/** A file itself, or the GGUF files of a folder and its folders; of a split model the first part. @throws FileError */
export async function modelsBelow(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
  } catch (error) {
    throw systemError(path, error)
  }
  const found: string[] = []
  await collect(path, mostDepth, found)
  return found.sort()
}

async function collect(folder: string, depth: number, found: string[]): Promise<void> {
  let entries: Dirent[]
  try {
    entries = await readdir(folder, { withFileTypes: true })
  } catch {
    return // a folder of somebody else within the one that was named
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (found.length >= mostFiles) return
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (depth > 0) await collect(path, depth - 1, found)
    } else if (isModel(entry.name) && (entry.isFile() || (entry.isSymbolicLink() && (await isFile(path)))))
      found.push(path)
  }
}

/** Parts after the first, projectors of images and importance matrices are no models of their own. */
const isModel = (name: string): boolean =>
  /\.gguf$/i.test(name) &&
  !/(^|[-._])(mmproj|imatrix)([-._]|$)/i.test(name) &&
  !/-(?!00001-of-)\d{5}-of-\d{5}\.gguf$/i.test(name)

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  )

/** What is in the stores of this user. A damaged manifest of Ollama is passed over: Ollama says so itself. */
export async function localModels(): Promise<string[]> {
  const folders = [hubSettings().cache, lmStudioFolder()].filter((folder) => existsSync(folder))
  const found = await Promise.all(folders.map((folder) => modelsBelow(folder)))
  const ofOllama = await Promise.all(ollamaNames().map((name) => ollamaModel(name).catch(() => undefined)))
  return [...new Set([...found.flat(), ...ofOllama.filter((path) => path !== undefined)])]
}
