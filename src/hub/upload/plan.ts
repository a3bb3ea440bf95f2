/** Which files a push sends, and under which names: models too large for the Hub in parts, and a model card. */
import { dirname, join } from 'node:path'
import { FileError, UsageError } from '../../errors.js'
import { openGguf } from '../../gguf/index.js'
import { partsByName } from '../../gguf/split.js'
import { splitParts } from '../../gguf/split-parts.js'
import { openInput, readInput } from '../../input-file.js'
import { partPath } from '../../paths.js'
import { statIfThere } from '../../system-errors.js'
import { isSafePath } from '../repository.js'
import { UploadSource } from './source.js'

/** The Hub takes no larger files. */
const defaultSplit = 50e9
const mostCard = 10e6

/**
 * @param paths files; of a split model the first part stands for all
 * @param card model card, which becomes README.md
 * @param splitBytes models that are larger are sent in parts
 * @throws FileError, UsageError
 */
export async function uploadSources(
  paths: readonly string[],
  { card, splitBytes = defaultSplit }: { readonly card?: string; readonly splitBytes?: number },
): Promise<UploadSource[]> {
  const sources: UploadSource[] = []
  for (const path of new Set(paths.flatMap(partsByName))) sources.push(...(await sourcesOf(path, splitBytes)))
  const readme = card ?? (await cardBeside(paths))
  if (readme !== undefined) {
    const bytes = await readInput(readme, mostCard)
    sources.push(new UploadSource('README.md', [bytes]))
  }
  const twice = sources.find(({ path }, i) => sources.some((other, j) => j < i && other.path === path))
  if (twice)
    throw new UsageError(
      `two of the files would be ${twice.path} in the repository; push one of them, or rename it`,
    )
  return sources
}

async function sourcesOf(path: string, splitBytes: number): Promise<UploadSource[]> {
  const { handle, size } = await openInput(path)
  await handle.close()
  const name = path.replace(/^.*[/\\]/s, '')
  if (!isSafePath(name)) throw new FileError(path, 'no file of a repository can have this name; rename it')
  if (size <= splitBytes) return [new UploadSource(name, [{ path, start: 0, end: size }])]
  if (!/\.gguf$/i.test(name))
    throw new FileError(path, `it is larger than ${splitBytes / 1e9} GB, and only GGUF files can be split`)
  const gguf = await openGguf(path)
  await gguf.close()
  if (gguf.files.length > 1)
    throw new FileError(
      path,
      `it is a part that is larger than ${splitBytes / 1e9} GB; split the whole model into smaller parts`,
    )
  const parts = splitParts(gguf, splitBytes)
  const stem = name.replace(/\.gguf$/i, '')
  return parts.map(
    ({ header, start, end, padding }, i) =>
      new UploadSource(partPath(stem, i, parts.length), [
        header,
        { path, start, end },
        new Uint8Array(padding),
      ]),
  )
}

/** A README.md beside the first file, if it has the table of `quench compare --markdown`: others may be of something else. */
async function cardBeside(paths: readonly string[]): Promise<string | undefined> {
  const readme = join(dirname(paths[0] ?? '.'), 'README.md')
  const found = statIfThere(readme)
  if (paths.some((path) => /(^|[/\\])README\.md$/.test(path)) || !found?.isFile() || found.size > mostCard)
    return undefined
  const text = (await readInput(readme, mostCard)).toString('utf8')
  return /^\|\s*quantization\s*\|\s*size\s*\|\s*bits\/weight/m.test(text) ? readme : undefined
}
