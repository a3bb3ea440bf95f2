/**
 * The backend of GPUs, through WebGPU (Vulkan, Metal or Direct3D 12): buffers stay on the device, and programs, rounding and Adam are
 * onnxruntime sessions there.
 */
import type { GridLayout } from '../../formats/format.js'
import { factorsOf } from '../../formats/grids.js'
import type {
  AdamStep,
  Backend,
  Buffers,
  DeviceBuffer,
  DeviceGrid,
  DeviceLatents,
  Moments,
} from '../backend.js'
import { moveOf } from '../cpu/adam.js'
import { bufferOf, Range, rangeOf } from './buffers.js'
import {
  adamGraph,
  type GridSizes,
  latentGraph,
  roundGraph,
  scaleGradientsGraph,
  trainGraph,
  weightsGraph,
} from './grid.js'
import { DeviceMemory, type Ranges } from './memory.js'

export class WebGpu extends DeviceMemory implements Backend {
  /** Numbers of the levels and layouts seen so far, for keys of programs. */
  private readonly numbers = new Map<object, number>()

  latentGrid(layout: GridLayout, latents: DeviceLatents): { stored: Buffers; grid: DeviceGrid } {
    const { counts, values } = scalesOf(layout, latents)
    const stored = mapped(counts, (length) => Range.make(this.device, length))
    const { block, group } = layout.scale
    const groups = counts[(group ?? block).field]
    const scales = Range.make(this.device, groups)
    const mins = layout.offset && Range.make(this.device, groups)
    const key = `latents ${this.numberOf(layout)} ${Object.values(counts)}`
    this.later(key, () => latentGraph(layout, counts), values, {
      ...{ ...stored, 'of groups': scales },
      ...(mins && { 'mins of groups': mins }),
    })
    const grid = { scales: bufferOf(scales), levels: layout.levels, ...(mins && { mins: bufferOf(mins) }) }
    return { stored: mapped(stored, bufferOf), grid }
  }

  roundToGrid(values: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer, codes?: DeviceBuffer): void {
    const { sizes, inputs } = gridOf(values, grid)
    this.later(
      `round ${this.numberOf(grid.levels)} ${Object.values(sizes)}`,
      () => roundGraph(grid.levels, sizes),
      inputs,
      { weights: rangeOf(weights), ...(codes && { codes: rangeOf(codes) }) },
    )
  }

  weightsOf(codes: DeviceBuffer, grid: DeviceGrid, weights: DeviceBuffer): void {
    const { sizes, inputs } = gridOf(codes, grid)
    this.later(`weights ${Object.values(sizes)}`, () => weightsGraph(sizes), inputs, {
      weights: rangeOf(weights),
    })
  }

  trainOnGrid(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    grid: DeviceGrid,
    sums: Parameters<Backend['trainOnGrid']>[3],
    step?: AdamStep & { readonly moments: Moments; readonly unit: DeviceBuffer },
  ): void {
    const { sizes, inputs } = gridOf(values, grid)
    const [products, gradients] = [rangeOf(sums.products), rangeOf(sums.gradients)]
    const key = `train ${this.numberOf(grid.levels)} ${Object.values(sizes)} ${step !== undefined}`
    const adam = step && this.adamState(values, step.moments, step.unit, step)
    this.later(
      key,
      () => trainGraph(grid.levels, sizes, step !== undefined),
      { ...inputs, gradient: rangeOf(gradient), ...adam?.inputs },
      { products, gradients, ...adam?.outputs },
    )
  }

  scaleGradients(
    layout: GridLayout,
    latents: DeviceLatents,
    stored: Buffers,
    sums: Parameters<Backend['scaleGradients']>[3],
  ): Buffers {
    const { counts, values } = scalesOf(layout, latents)
    const gradients = mapped(counts, (length) => Range.make(this.device, length))
    const groups = sums.products.length
    this.later(
      `scales ${this.numberOf(layout)} ${Object.values(counts)}`,
      () => scaleGradientsGraph(layout, counts, groups),
      {
        ...{ ...values, ...mapped(stored, rangeOf) },
        ...{ products: rangeOf(sums.products), gradients: rangeOf(sums.gradients) },
      },
      Object.fromEntries(Object.entries(gradients).map(([field, range]) => [`d ${field}`, range])),
    )
    return mapped(gradients, bufferOf)
  }

  adam(
    values: DeviceBuffer,
    gradient: DeviceBuffer,
    moments: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): void {
    const { inputs, outputs } = this.adamState(values, moments, unit, step)
    this.later(
      `adam ${values.length} ${unit.length}`,
      () => adamGraph(values.length, unit.length),
      { ...inputs, values: rangeOf(values), gradient: rangeOf(gradient) },
      outputs,
    )
  }

  private adamState(
    values: DeviceBuffer,
    { first, second }: Moments,
    unit: DeviceBuffer,
    step: AdamStep,
  ): { inputs: Ranges; outputs: Record<string, Range> } {
    return {
      inputs: {
        ...{ first: rangeOf(first), second: rangeOf(second), unit: rangeOf(unit) },
        ...{ gradientScale: step.gradientScale, move: moveOf(step) },
      },
      outputs: {
        moved: rangeOf(values),
        'first moment': rangeOf(first),
        'second moment': rangeOf(second),
      },
    }
  }

  private numberOf(of: object): number {
    const known = this.numbers.get(of) ?? this.numbers.size
    this.numbers.set(of, known)
    return known
  }
}

const mapped = <A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))

/** The latent scales and minimums of a layout, and how many there are, by field. */
function scalesOf(
  layout: GridLayout,
  latents: DeviceLatents,
): { counts: Record<string, number>; values: Record<string, Range> } {
  const fields = factorsOf(layout).flatMap(({ block, group }) =>
    group ? [block.field, group.field] : [block.field],
  )
  const ranges = fields.map((field) => [field, rangeOf(latents[field].values)] as const)
  return {
    counts: Object.fromEntries(ranges.map(([field, { length }]) => [field, length])),
    values: Object.fromEntries(ranges.map(([field, range]) => [`latent ${field}`, range])),
  }
}

function gridOf(
  values: DeviceBuffer,
  { scales, mins }: DeviceGrid,
): { sizes: GridSizes; inputs: Record<string, Range> } {
  return {
    sizes: { values: values.length, groups: scales.length, mins: mins !== undefined },
    inputs: {
      ...{ values: rangeOf(values), scales: rangeOf(scales) },
      ...(mins && { mins: rangeOf(mins) }),
    },
  }
}
