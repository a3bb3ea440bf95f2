/**
 * Memory and work of a family's file that is not at hand, from the family's shape: cache and layout are those of a header's model,
 * weights are spread evenly over layers, compute buffers are a rule of thumb.
 */
import { recipes } from '../formats/recipes.js'
import { ggmlTypes } from '../gguf/index.js'
import type { Family } from './catalogue/types.js'
import { cacheBytes, runOf } from './memory/cache.js'
import { layoutOf } from './memory/layout.js'
import type { CacheShape, LayerShape } from './memory/shape.js'
import type { MemoryItem, MemoryOptions } from './memory/types.js'
import type { Placement } from './speed/types.js'
import { cacheReads, type TokenWork } from './speed/work.js'

export interface FamilyFile {
  /** Recipe, e.g. `Q4_K_M`. */
  readonly type: string
  readonly bytes: number
}

/** Buffers of activations beside the logits, in rows of the embedding. */
const activationRows = 12
/** Of a process with its tokenizer. */
const processBytes = 100e6

export const familyParameters = ({ parameters, parametersText }: Family): number =>
  parametersText ?? parameters

/** Share of the weights in experts, of which few are used at a time; 0 without experts. */
export function expertShareOf(family: Family): number {
  const { blocks, embedding, experts = 0, expertFeedForward = 0 } = family
  return Math.min(0.97, (blocks * 3 * embedding * expertFeedForward * experts) / familyParameters(family))
}

export function familyMemory(family: Family, { bytes }: FamilyFile, options: MemoryOptions): MemoryItem[] {
  const shape = shapeOfFamily(family)
  const run = runOf(shape, options)
  const layout = layoutOf(family.blocks, options)
  const items: MemoryItem[] = partsOf(family, options).map(({ device, held }) => ({
    ...{ what: 'weights', use: 'weights', device, bytes: held * bytes },
  }))
  for (const [i, cached] of cacheBytes(shape, run).entries())
    items.push({ what: 'KV cache', use: 'cache', device: layout.layers[i], bytes: cached })
  const compute = 4 * run.tokens * (family.vocabulary + activationRows * family.embedding)
  const onCard = layout.output >= 0
  const buffer = (device: number, size: number): MemoryItem => ({
    ...{ what: 'compute buffer', use: 'compute', device, bytes: size },
  })
  return [
    ...items,
    ...[...new Set(layout.layers)].filter((device) => device >= 0).map((device) => buffer(device, compute)),
    buffer(-1, onCard ? compute / 4 : compute),
    { what: 'process and tokenizer', use: 'system', device: -1, bytes: processBytes },
  ]
}

export function familyWork(family: Family, { type, bytes }: FamilyFile, placement: Placement): TokenWork {
  const layout = layoutOf(family.blocks, placement)
  const main = ggmlTypes.get(recipes[type]?.type ?? -1)?.name ?? type
  return {
    weights: partsOf(family, placement).map(({ device, read, multiplied }) => ({
      ...{ device, type: main, bytes: read * bytes },
      weights: multiplied * familyParameters(family),
    })),
    gpuLayers: layout.layers.filter((device) => device >= 0).length,
    cache: cacheReads(shapeOfFamily(family), layout.layers, placement),
  }
}

/** Shares of all weights: held by a device, read for a token, multiplied with one token of a prompt. */
interface Part {
  readonly device: number
  readonly held: number
  readonly read: number
  readonly multiplied: number
}

function partsOf(
  family: Family,
  options: Pick<MemoryOptions, 'gpuLayers' | 'tensorSplit' | 'cpuExpertLayers'>,
): Part[] {
  const { blocks, embedding, vocabulary, experts = 0, expertsUsed = 0, parametersActive } = family
  const total = familyParameters(family)
  const layout = layoutOf(blocks, options)
  const inExperts = expertShareOf(family)
  const output = Math.min((vocabulary * embedding) / total, 1 - inExperts)
  const expertUse = experts > 0 ? expertsUsed / experts : 0
  const used = inExperts > 0 ? 1 : Math.min(1, (parametersActive ?? total) / total)
  const parts = new Map<number, Part>()
  const add = (device: number, held: number, read: number, multiplied: number): void => {
    const before = parts.get(device) ?? { device, held: 0, read: 0, multiplied: 0 }
    parts.set(device, {
      device,
      held: before.held + held,
      read: before.read + read,
      multiplied: before.multiplied + multiplied,
    })
  }
  const dense = (1 - inExperts - output) / blocks
  const routed = inExperts / blocks
  for (const [i, device] of layout.layers.entries()) {
    add(device, dense, dense * used, dense * used)
    const holder = i < (options.cpuExpertLayers ?? 0) ? -1 : device
    if (routed > 0) add(holder, routed, routed * expertUse, routed * expertUse)
  }
  add(layout.output, output, output, 0)
  return [...parts.values()]
}

/** Where global blocks differ from local ones, both are counted; their order does not matter to sums. */
function shapeOfFamily(family: Family): CacheShape {
  const { blocks, embedding, heads, slidingWindow = 0, sharedKvLayers = 0 } = family
  const headsKV = family.kvHeads ?? heads
  const size = family.headSize ?? embedding / heads
  const own = family.kvBlocks ?? blocks - sharedKvLayers
  const local = localBlocks(family, own)
  const layer = (i: number): LayerShape => {
    const sliding = i < local
    const wide = local > 0 && !sliding
    const width = wide ? (family.headSizeGlobal ?? size) : size
    return {
      ...{ heads, headsKV: wide ? (family.kvHeadsGlobal ?? headsKV) : headsKV },
      ...{ keyWidth: width, valueWidth: width, sliding, cached: i < own, recurrent: false },
    }
  }
  return {
    layers: Array.from({ length: blocks }, (_, i) => layer(i)),
    window: slidingWindow,
    latent: false,
    recurrentWidth: 0,
  }
}

/** How many of the blocks with a cache have a window. */
function localBlocks(family: Family, own: number): number {
  if (family.slidingWindow === undefined) return 0
  if (family.localBlocks !== undefined && own === family.blocks) return family.localBlocks
  const [, local = '0', global = '1'] = /(\d+) local : (\d+) global/.exec(family.slidingPattern ?? '') ?? []
  return Math.floor((own * Number(local)) / (Number(local) + Number(global)))
}
