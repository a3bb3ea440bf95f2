/**
 * Rotary embeddings of a configuration. Old ones have `rope_theta` and `rope_scaling`, new ones `rope_parameters` with everything in it,
 * or one such object for each kind of layer.
 */
import { Fields } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import { type Entry, float32, string, uint32 } from './values.js'

/** Extensions that change nothing up to the length that a model was trained with. */
const withoutEffect = new Set(['default', 'dynamic', 'proportional', 'llama3'])

export class Rope {
  /** Of all layers, or of those without a window. */
  readonly full: Fields
  /** Base frequency of the layers with a window, if it is another. */
  readonly slidingBase: number | undefined
  /** Of the layers with a window, where the configuration has an object for them. */
  readonly sliding: Fields | undefined

  constructor(private readonly config: Fields) {
    const given =
      config.object('rope_parameters') ?? config.object('rope_scaling') ?? new Fields(config.path, {})
    const kinds = given.object('full_attention')
    this.sliding = given.object('sliding_attention')
    this.full = kinds ?? (this.sliding ? new Fields(config.path, {}) : given)
    const local = ['rope_local_base_freq', 'local_rope_theta'].find((key) => config.has(key))
    this.slidingBase = this.sliding
      ? this.sliding.number('rope_theta')
      : local === undefined
        ? undefined
        : config.number(local)
  }

  /** `default`, `linear`, `llama3`, `yarn` ... */
  get type(): string {
    return this.full.string('rope_type', this.full.string('type', 'default')).toLowerCase()
  }

  get base(): number {
    return this.full.number('rope_theta', this.config.number('rope_theta', 10000))
  }

  /** @throws FileError for an extension that llama.cpp does not have */
  metadata(): Entry[] {
    const { full, type } = this
    const entries: Entry[] = []
    if (type === 'linear' || type === 'yarn') {
      entries.push(
        ['rope.scaling.type', string(type)],
        ['rope.scaling.factor', float32(full.number('factor'))],
      )
      if (type === 'yarn') entries.push(...this.yarn())
    } else if (!withoutEffect.has(type))
      throw new FileError(
        full.path,
        `has rotary embeddings of the type ${quote(type)}, which cannot be converted`,
      )
    entries.push(['rope.freq_base', float32(this.base)])
    if (this.slidingBase !== undefined) entries.push(['rope.freq_base_swa', float32(this.slidingBase)])
    return entries
  }

  private yarn(): Entry[] {
    const { full, config } = this
    const original = full.has('original_max_position_embeddings') ? full : config
    const entries: Entry[] = [
      ['rope.scaling.original_context_length', uint32(original.count('original_max_position_embeddings'))],
    ]
    const optional = (key: string, ...names: string[]): void => {
      const name = names.find((each) => full.has(each))
      if (name !== undefined) entries.push([`rope.scaling.${key}`, float32(full.number(name))])
    }
    optional('yarn_ext_factor', 'extrapolation_factor')
    optional('yarn_attn_factor', 'attention_factor', 'attn_factor')
    optional('yarn_beta_fast', 'beta_fast')
    optional('yarn_beta_slow', 'beta_slow')
    return entries
  }

  /**
   * What Llama 3.1 divides the frequencies of its pairs by, in f32 as llama.cpp's converter has it; undefined for other types.
   * @param width of a head
   */
  llama3Factors(width: number): Float32Array | undefined {
    const { full } = this
    if (this.type !== 'llama3') return undefined
    const factor = full.number('factor', 8)
    const [low, high] = [full.number('low_freq_factor', 1), full.number('high_freq_factor', 4)]
    const context = full.number('original_max_position_embeddings', 8192)
    const f32 = Math.fround
    // Each step rounds to f32, and a quotient of a number by a tensor is, in PyTorch, its reciprocal times the number.
    const over = (number: number, value: number): number => f32(f32(1 / value) * f32(number))
    return Float32Array.from({ length: Math.ceil(width / 2) }, (_, i) => {
      const frequency = f32(1 / f32(this.base ** f32((2 * i) / width)))
      const wavelength = over(2 * Math.PI, frequency)
      if (wavelength < f32(context / high)) return 1
      if (wavelength > f32(context / low)) return factor
      const smooth = f32(f32(over(context, wavelength) - low) / (high - low))
      return f32(1 / f32(f32(f32(1 - smooth) / factor) + smooth))
    })
  }
}
