/**
 * Rounding of latents to the grid of their format, its gradient, and Adam, as programs of a device: backends/cpu/grid.ts and adam.ts as
 * graphs, in the same f32 operations. Every node is a program of its own on the device, so that no multiplication is fused with an
 * addition, and a rounded weight equals the dequantized one bit for bit.
 */
import type { Factor, GridLayout } from '../../formats/format.js'
import { factorsOf } from '../../formats/grids.js'
import { clippedOutside, type Levels } from '../../formats/levels.js'
import type { ScaleRounding } from '../../formats/stored-scale.js'
import {
  add,
  clip,
  constant,
  div,
  equal,
  gather,
  input,
  less,
  mul,
  neg,
  type ProgramGraph,
  reshape,
  round,
  sqrt,
  sub,
  sum,
  type Tensor,
  toInt,
  where,
} from '../../graph/index.js'

/** Numbers of values, and whether groups have a minimum. */
export interface GridSizes {
  readonly values: number
  readonly groups: number
  readonly mins: boolean
}

/** The least normal f32; devices may take smaller numbers for zero. */
const leastNormal = 2 ** -126
const overflow = 65536

/** Nearest half, ties to even: f32 arithmetic rounds to 11 significant bits (Veltkamp), or to multiples of 2^-24. */
function roundToHalf(x: Tensor): Tensor {
  const wide = mul(x, 2 ** 13 + 1)
  const normal = sub(wide, sub(wide, x))
  const small = sub(add(x, 0.75), 0.75)
  const isSmall = both(less(-(2 ** -14), x), less(x, 2 ** -14))
  const finite = where(less(normal, overflow), normal, constant(Float32Array.of(Infinity), []))
  const half = where(less(-overflow, normal), finite, constant(Float32Array.of(-Infinity), []))
  return where(isSmall, small, half)
}

const both = (a: Tensor, b: Tensor): Tensor => equal(where(a, where(b, 1, 0), 0), 1)

/** The nearest of ascending numbers, by binary search. */
function nearestOf(x: Tensor, values: Float32Array): Tensor {
  const steps = Math.ceil(Math.log2(values.length))
  const middles = new Float32Array(2 ** steps).fill(Infinity)
  for (let i = 0; i + 1 < values.length; i++)
    middles[i] = Math.max((values[i] + values[i + 1]) / 2, leastNormal)
  const pick = (table: Float32Array, at: Tensor): Tensor =>
    reshape(gather(constant(table, [table.length, 1]), toInt(at)), x.shape)
  let at = mul(x, 0)
  for (let step = 2 ** (steps - 1); step >= 1; step /= 2)
    at = add(at, where(less(x, pick(middles, add(at, step - 1))), 0, step))
  return pick(values, at)
}

function roundScale(rounding: ScaleRounding, x: Tensor): Tensor {
  if (rounding.as === 'half') return roundToHalf(x)
  if (rounding.as === 'listed') return nearestOf(x, rounding.values)
  return clip(round(x), rounding.lo, rounding.hi)
}

/** From latent scales and minimums, `latent <field>`, to the stored ones, `<field>`, and the scales and minimums of groups. */
export function latentGraph(layout: GridLayout, counts: Readonly<Record<string, number>>): ProgramGraph {
  const inputs: Record<string, Tensor> = {}
  const stored: Record<string, Tensor> = {}
  for (const { block, group } of factorsOf(layout))
    for (const { field, rounding } of group ? [block, group] : [block]) {
      inputs[`latent ${field}`] = input([counts[field]])
      stored[field] = roundScale(rounding, inputs[`latent ${field}`])
    }
  const ofGroups = ({ block, group }: Factor): Tensor => {
    const blocks = stored[block.field]
    if (!group) return blocks
    const own = stored[group.field]
    return reshape(
      mul(reshape(blocks, [blocks.size, 1]), reshape(own, [blocks.size, own.size / blocks.size])),
      own.shape,
    )
  }
  const outputs: Record<string, Tensor> = { ...stored, 'of groups': ofGroups(layout.scale) }
  const { offset } = layout
  if (offset) outputs['mins of groups'] = offset.sign < 0 ? ofGroups(offset) : neg(ofGroups(offset))
  return { inputs, outputs }
}

interface GridInputs {
  readonly inputs: Record<string, Tensor>
  /** (groups, values of a group) and (groups, 1). */
  readonly values: Tensor
  readonly scales: Tensor
  readonly mins: Tensor | undefined
}

function gridInputs({ values, groups, mins }: GridSizes): GridInputs {
  const inputs: Record<string, Tensor> = {
    values: input([groups, values / groups]),
    scales: input([groups, 1]),
    ...(mins && { mins: input([groups, 1]) }),
  }
  return { inputs, values: inputs.values, scales: inputs.scales, mins: mins ? inputs.mins : undefined }
}

/** The code of every value, and whether it is not clipped. */
function rounded({ lo, hi, table }: Levels, { values, scales, mins }: GridInputs): [Tensor, Tensor] {
  const none = both(less(-leastNormal, scales), less(scales, leastNormal))
  const inverse = where(none, 0, div(1, where(none, 1, scales)))
  const position = mul(mins ? add(values, mins) : values, inverse)
  if (!table) {
    const whole = round(position)
    const code = clip(whole, lo, hi)
    return [code, equal(whole, code)]
  }
  // Levels are whole numbers, so the middles between them are halves: the doubled position, rounded down, tells the level.
  const levels = Float32Array.from({ length: 2 * (hi - lo) + 1 }, (_, i) => {
    const after = table.middles.findIndex((middle) => lo + i / 2 < middle)
    return table.values[after < 0 ? table.values.length - 1 : after]
  })
  const index = sub(floor(mul(clip(position, lo, hi), 2)), 2 * lo)
  const code = gather(constant(levels, [levels.length, 1]), toInt(index))
  const [from, to] = clippedOutside({ lo, hi, table })
  return [reshape(code, values.shape), both(equal(where(less(position, from), 1, 0), 0), less(position, to))]
}

const floor = (x: Tensor): Tensor => sub(round(x), where(less(x, round(x)), 1, 0))

const dequantized = (codes: Tensor, { scales, mins }: GridInputs): Tensor =>
  mins ? sub(mul(codes, scales), mins) : mul(codes, scales)

/** From values to `weights` and `codes`. */
export function roundGraph(levels: Levels, sizes: GridSizes): ProgramGraph {
  const given = gridInputs(sizes)
  const [codes] = rounded(levels, given)
  return { inputs: given.inputs, outputs: { weights: dequantized(codes, given), codes } }
}

/** From codes, `values`, to `weights`. */
export function weightsGraph(sizes: GridSizes): ProgramGraph {
  const given = gridInputs(sizes)
  return { inputs: given.inputs, outputs: { weights: dequantized(given.values, given) } }
}

/** Sums over the groups, and a step of Adam on the values if they train. */
export function trainGraph(levels: Levels, sizes: GridSizes, trains: boolean): ProgramGraph {
  const given = gridInputs(sizes)
  const { values, scales } = given
  const gradient = input(values.shape)
  const [codes, passes] = rounded(levels, given)
  const outputs = { products: sum(mul(gradient, codes), [1]), gradients: sum(gradient, [1]) }
  const inputs = { ...given.inputs, gradient }
  if (!trains) return { inputs, outputs }
  const state = adamInputs(values.shape, scales.shape)
  return {
    inputs: { ...inputs, ...state },
    outputs: { ...outputs, ...adamOf(values, where(passes, gradient, 0), state) },
  }
}

interface AdamInputs {
  readonly [name: string]: Tensor
  readonly first: Tensor
  readonly second: Tensor
  readonly unit: Tensor
  readonly gradientScale: Tensor
  readonly move: Tensor
}

const adamInputs = (shape: readonly number[], units: readonly number[]): AdamInputs => ({
  ...{ first: input(shape), second: input(shape), unit: input(units) },
  ...{ gradientScale: input([1]), move: input([1]) },
})

/** One step of Adam, see backends/cpu/adam.ts and `adam` of kernel.wat. */
function adamOf(
  values: Tensor,
  gradient: Tensor,
  { first, second, unit, gradientScale, move }: AdamInputs,
): Record<string, Tensor> {
  const tiny = 1e-30
  const g = mul(gradient, mul(unit, gradientScale))
  const mean = add(mul(first, 0.9), mul(g, 0.1))
  const square = add(mul(second, 0.95), mul(mul(g, g), 0.05))
  const m = where(less(tiny, mean), mean, where(less(mean, -tiny), mean, 0))
  const v = where(less(tiny, square), square, 0)
  const step = div(mul(mul(unit, move), m), add(sqrt(v), 1e-15))
  return { moved: sub(values, step), 'first moment': m, 'second moment': v }
}

/** A step of Adam on `length` values with `units` units. */
export function adamGraph(length: number, units: number): ProgramGraph {
  const values = input([units, length / units])
  const gradient = input(values.shape)
  const state = adamInputs(values.shape, [units, 1])
  return { inputs: { values, gradient, ...state }, outputs: adamOf(values, gradient, state) }
}

/** From the sums of groups to the gradients, `<field>`, of latent scales and minimums. */
export function scaleGradientsGraph(
  { scale, offset }: GridLayout,
  counts: Readonly<Record<string, number>>,
  groups: number,
): ProgramGraph {
  const [products, gradients] = [input([groups]), input([groups])]
  const inputs: Record<string, Tensor> = { products, gradients }
  const outputs: Record<string, Tensor> = {}
  const factor = ({ block, group }: Factor, sums: Tensor): void => {
    const latent = (field: string): Tensor => {
      inputs[`latent ${field}`] = input([counts[field]])
      return inputs[`latent ${field}`]
    }
    if (!group) {
      outputs[block.field] = unclipped(block.rounding, latent(block.field), sums)
      return
    }
    const blocks = counts[block.field]
    inputs[block.field] = input([blocks, 1])
    inputs[group.field] = input([blocks, groups / blocks])
    const rows = reshape(sums, [blocks, groups / blocks])
    outputs[block.field] = sum(mul(rows, inputs[group.field]), [1])
    const ofGroups = reshape(mul(rows, inputs[block.field]), [groups])
    outputs[group.field] = unclipped(group.rounding, latent(group.field), ofGroups)
  }
  factor(scale, products)
  if (offset) factor(offset, offset.sign < 0 ? neg(gradients) : gradients)
  return { inputs, outputs: Object.fromEntries(Object.entries(outputs).map(([n, d]) => [`d ${n}`, d])) }
}

/** Clears the gradients of values outside of the storable range. */
function unclipped(rounding: ScaleRounding, x: Tensor, gradient: Tensor): Tensor {
  if (rounding.as === 'half') return gradient
  if (rounding.as === 'integer') {
    const whole = round(x)
    return where(equal(whole, clip(whole, rounding.lo, rounding.hi)), gradient, 0)
  }
  const { values } = rounding
  return where(equal(x, clip(x, values[0], values[values.length - 1])), gradient, 0)
}
