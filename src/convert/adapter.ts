/**
 * LoRA adapters as PEFT saves them (Hu et al., arXiv 2106.09685): a matrix W becomes W + scale * B A, with A in `NAME.lora_A.weight`
 * (rank, columns), B in `NAME.lora_B.weight` (rows, rank) and scale = alpha / rank, or alpha / sqrt(rank) with `use_rslora`.
 * Sums are in f64 and rounded once to f32.
 */
import { join } from 'node:path'
import {
  Checkpoint,
  type Fields,
  filesIn,
  readJson,
  readSafetensors,
  type StoredTensor,
} from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { plainName } from './names.js'
import { columnsOf, computed, type Rows, storedRows } from './rows.js'

interface Pair {
  readonly a: Rows
  readonly b: Rows
  readonly scale: number
}

const weightsName = 'adapter_model.safetensors'

export class Adapter {
  /** Matrices changed. */
  used = 0
  readonly #waiting: Set<string>

  private constructor(
    private readonly checkpoint: Checkpoint,
    private readonly pairs: ReadonlyMap<string, Pair>,
    private readonly whole: ReadonlyMap<string, StoredTensor>,
  ) {
    this.#waiting = new Set([...pairs.keys(), ...whole.keys()])
  }

  /** @throws FileError for an adapter of another kind than LoRA, or one that is damaged */
  static async open(folder: string): Promise<Adapter> {
    const files = filesIn(folder)
    if (!files.has('adapter_config.json'))
      throw new FileError(folder, 'is no adapter: it has no adapter_config.json')
    const config = await readJson(join(folder, 'adapter_config.json'))
    checkKind(config)
    if (!files.has(weightsName))
      throw new FileError(folder, `has no ${weightsName}; an adapter that is a pickle is not opened`)
    const tensors = await readSafetensors(join(folder, weightsName))
    const checkpoint = Checkpoint.of(folder, files, config, tensors)
    const halves = new Map<string, { a?: StoredTensor; b?: StoredTensor }>()
    const whole = new Map<string, StoredTensor>()
    for (const tensor of tensors) {
      const name = plainName(tensor.name.replace(/^base_model\.model\./, ''))
      const [, module, half] = /^(.*)\.lora_([AB])(?:\.default)?\.weight$/.exec(name) ?? []
      if (module === undefined) {
        if (/lora_|\.bias$/.test(name))
          throw new FileError(
            tensor.path,
            `has the tensor ${quote(tensor.name)}, which is not of a plain LoRA adapter`,
          )
        whole.set(name.replace('.modules_to_save.', '.').replace('.default.', '.'), tensor)
      } else halves.set(module, { ...halves.get(module), [half === 'A' ? 'a' : 'b']: tensor })
    }
    const pairs = new Map<string, Pair>()
    for (const [module, { a, b }] of halves) {
      if (!a || !b) throw new FileError(folder, `has only one of the two matrices of ${quote(module)}`)
      pairs.set(`${module}.weight`, pairOf(checkpoint, config, module, a, b))
    }
    return new Adapter(checkpoint, pairs, whole)
  }

  /** A tensor that the adapter has instead of the model's, e.g. a trained head. @param name without prefixes */
  replaced(name: string): Rows | undefined {
    const tensor = this.whole.get(name)
    if (!tensor) return undefined
    this.#take(name)
    return storedRows(this.checkpoint, tensor)
  }

  /** The rows of a matrix with the adapter's share; undefined if it has none. @throws FileError if it is for another shape */
  adapt(name: string, rows: Rows): Rows | undefined {
    const pair = this.pairs.get(name)
    if (!pair) return undefined
    const { a, b, scale } = pair
    const columns = columnsOf(rows.shape)
    if (rows.shape.length !== 2 || b.shape[0] !== rows.shape[0] || columnsOf(a.shape) !== columns)
      throw new FileError(
        this.checkpoint.folder,
        `is for a model of another shape: ${quote(name)} has ${rows.shape.join(' x ')} weights`,
      )
    this.#take(name)
    const rank = a.shape[0]
    let first: Promise<Float32Array> | undefined
    return computed(rows, async (values, from) => {
      first ??= a.floats(0, rank)
      const [left, right] = [await b.floats(from, values.length / columns), await first]
      const sum = new Float64Array(columns)
      for (let row = 0; row < values.length / columns; row++) {
        sum.fill(0)
        for (let r = 0; r < rank; r++) {
          const factor = left[row * rank + r]
          for (let column = 0; column < columns; column++) sum[column] += factor * right[r * columns + column]
        }
        for (let column = 0; column < columns; column++) values[row * columns + column] += scale * sum[column]
      }
    })
  }

  /** @throws FileError if something of the adapter has no place in the model */
  checkUsed(): void {
    const [first] = this.#waiting
    if (first !== undefined)
      throw new FileError(
        this.checkpoint.folder,
        `is for another model: this one has no tensor ${quote(first)}`,
      )
  }

  close(): Promise<void> {
    return this.checkpoint.close()
  }

  #take(name: string): void {
    this.#waiting.delete(name)
    this.used++
  }
}

function checkKind(config: Fields): void {
  const kind = config.string('peft_type')
  if (kind !== 'LORA')
    throw new FileError(config.path, `is an adapter of the type ${quote(kind)}; quench merges LoRA`)
  for (const key of ['use_dora', 'fan_in_fan_out', 'use_qalora'])
    if (config.value(key) === true)
      throw new FileError(config.path, `has ${quote(key)}, which quench does not merge`)
}

function pairOf(
  checkpoint: Checkpoint,
  config: Fields,
  module: string,
  a: StoredTensor,
  b: StoredTensor,
): Pair {
  const rank = a.shape[0]
  if (a.shape.length !== 2 || b.shape.length !== 2 || b.shape[1] !== rank || !(rank > 0))
    throw new FileError(a.path, `has matrices for ${quote(module)} that do not fit each other`)
  const alpha = patternFor(config, 'alpha_pattern', module) ?? config.number('lora_alpha', 8)
  const scale = alpha / (config.value('use_rslora') === true ? Math.sqrt(rank) : rank)
  return { a: storedRows(checkpoint, a), b: storedRows(checkpoint, b), scale }
}

/** What a table of the configuration says for a module: by its name or the end of it. @throws FileError for other patterns */
function patternFor(config: Fields, key: string, module: string): number | undefined {
  const table = config.object(key)
  const names = Object.keys(table?.values ?? {})
  const special = names.find((name) => !/^[\w.]+$/.test(name))
  if (special !== undefined)
    throw new FileError(
      config.path,
      `${quote(key)} has the pattern ${quote(special)}; quench reads plain names`,
    )
  const found = names.find((name) => module === plainName(name) || module.endsWith(`.${name}`))
  return found === undefined ? undefined : table?.number(found)
}
