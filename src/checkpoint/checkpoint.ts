/**
 * A checkpoint: a folder with `config.json`, weights in one or several safetensors files, and a tokenizer. The names of files come from
 * the folder's own list, so that no name in an index leads out of it. Pickled weights are never opened, since reading them runs code.
 */
import type { FileHandle } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { openInput } from '../input-file.js'
import { entriesOf, statIfThere, systemError } from '../system-errors.js'
import type { Fields } from './fields.js'
import { readJson, readJsonIn } from './json.js'
import { readAt, readSafetensors, type StoredTensor } from './safetensors.js'

const indexName = 'model.safetensors.index.json'
const pickled = /\.(bin|pt|pth|ckpt|pkl)$/i
/** Larger than any that exists by far. */
const mostShards = 4096

/** Whether a path is a folder with a model's configuration or its weights. Never throws. */
export function isCheckpoint(folder: string): boolean {
  try {
    const files = filesIn(folder)
    return (
      files.has('config.json') &&
      [...files].some((name) => name.endsWith('.safetensors') || pickled.test(name))
    )
  } catch {
    return false
  }
}

/** The names in a folder. @throws FileError */
export function filesIn(folder: string): ReadonlySet<string> {
  if (statIfThere(folder)?.isDirectory() === false) throw new FileError(folder, 'this is no folder')
  return new Set(entriesOf(folder).map(({ name }) => name))
}

export class Checkpoint {
  readonly #handles = new Map<string, Promise<FileHandle>>()
  readonly #json = new Map<string, Promise<Fields | undefined>>()

  private constructor(
    readonly folder: string,
    readonly files: ReadonlySet<string>,
    readonly config: Fields,
    /** By name, in the order of the files and of names within a file. */
    readonly tensors: ReadonlyMap<string, StoredTensor>,
  ) {}

  /** Opens a folder and reads all headers. @throws FileError that says what is missing or damaged */
  static async open(folder: string): Promise<Checkpoint> {
    const files = filesIn(folder)
    const config = await readConfig(folder, files)
    const tensors = new Map<string, StoredTensor>()
    const { shards, places } = await shardsOf(folder, files)
    for (const shard of shards)
      for (const tensor of await readSafetensors(join(folder, shard))) {
        const twice = tensors.get(tensor.name)
        if (twice)
          throw new FileError(
            tensor.path,
            `has the tensor ${quote(tensor.name)}, which ${basename(twice.path)} has too; remove the file that does not belong here`,
          )
        tensors.set(tensor.name, tensor)
      }
    const missing = [...places].find(([name]) => !tensors.has(name))
    if (missing)
      throw new FileError(
        join(folder, missing[1]),
        `lacks the tensor ${quote(missing[0])}, which the index places there; download the file again`,
      )
    return new Checkpoint(folder, files, config, tensors)
  }

  /** Tensors of other files, e.g. of an adapter. */
  static of(
    folder: string,
    files: ReadonlySet<string>,
    config: Fields,
    tensors: readonly StoredTensor[],
  ): Checkpoint {
    return new Checkpoint(folder, files, config, new Map(tensors.map((tensor) => [tensor.name, tensor])))
  }

  /** A file of JSON beside the configuration, if there is one. @throws FileError */
  json(name: string): Promise<Fields | undefined> {
    const read = this.#json.get(name) ?? readJsonIn(this.folder, this.files, name)
    this.#json.set(name, read)
    return read
  }

  /** Bytes of a tensor, from `start` within it. */
  async read(tensor: StoredTensor, start: number, length: number): Promise<Buffer> {
    const { path } = tensor
    const open = this.#handles.get(path) ?? openInput(path).then(({ handle }) => handle)
    this.#handles.set(path, open)
    try {
      return await readAt(path, await open, tensor.offset + start, length)
    } catch (error) {
      throw systemError(path, error)
    }
  }

  async close(): Promise<void> {
    const handles = await Promise.allSettled(this.#handles.values())
    this.#handles.clear()
    for (const each of handles) if (each.status === 'fulfilled') await each.value.close()
  }
}

/** The configuration of a checkpoint's folder. @throws FileError */
export async function readConfig(folder: string, files = filesIn(folder)): Promise<Fields> {
  if (files.has('config.json')) return readJson(join(folder, 'config.json'))
  const why = files.has('params.json')
    ? 'has a params.json and no config.json: take the version of the model for Transformers'
    : files.has('adapter_config.json')
      ? 'is an adapter and not a model; convert its base model and name this folder with --adapter'
      : 'is no checkpoint: it has no config.json'
  throw new FileError(folder, why)
}

/** As in Transformers, weights have such a name; other safetensors files belong to something else. */
export const isWeights = (name: string): boolean => /^model.*\.safetensors$/.test(name)

/** The files with weights, and the place of each tensor by the index. */
async function shardsOf(folder: string, files: ReadonlySet<string>) {
  const index = await readJsonIn(folder, files, indexName)
  const places = new Map<string, string>()
  if (index) {
    const map = index.object('weight_map')
    if (!map) throw index.wrong('weight_map', 'an object')
    for (const name of Object.keys(map.values)) places.set(name, map.string(name))
    const shards = [...new Set(places.values())].sort()
    if (shards.length > mostShards) throw new FileError(index.path, `names more than ${mostShards} files`)
    const absent = shards.filter((name) => !files.has(name))
    if (absent.length > 0)
      throw new FileError(
        index.path,
        `names ${absent.length} of ${shards.length} files that are not in this folder, e.g. ${quote(absent[0])}; download them`,
      )
    return { shards, places }
  }
  const shards = [...files].filter(isWeights).sort()
  if (shards.length === 0) throw new FileError(folder, noWeights(files))
  return { shards, places }
}

function noWeights(files: ReadonlySet<string>): string {
  const pickle = [...files].find((name) => pickled.test(name))
  if (pickle !== undefined)
    return `has its weights in ${quote(pickle)}, a pickle, which can run code when it is read; get or make the safetensors version`
  const gguf = [...files].find((name) => /\.gguf$/i.test(name))
  if (gguf !== undefined) return `has no safetensors files, but ${quote(gguf)}, which needs no conversion`
  return 'has no weights: no file model*.safetensors is in it'
}
