/**
 * What a file takes in memory and time, from all of it on the processor to all on the graphics card. Figures for models that are
 * not at hand follow from their shapes; where there is a header, weights are counted from it.
 */
import { QuenchError } from '../errors.js'
import { ggmlTypeNamed } from '../gguf/index.js'
import { estimateMemory } from './memory/estimate.js'
import type { GgufHeader } from './memory/types.js'
import type { Footprint, Load } from './pick.js'
import type { Shape } from './shape.js'
import type { Target } from './target.js'

/** How the model is to run. */
export interface RunOptions {
  /** Tokens of each conversation. */
  readonly context: number
  /** Conversations at a time. */
  readonly parallel: number
  /** Types of the KV cache, e.g. `f16`. */
  readonly keys: string
  readonly values: string
}

export interface Sized {
  readonly shape: Shape
  /** Bytes of the weights. */
  readonly bytes: number
  readonly parameters: number
  /** Of a file at hand: memory is then what libllama will hold, item by item. */
  readonly header?: GgufHeader
}

/** llama.cpp's number of tokens that are computed at once. */
const batch = 512
/** Cells are allocated in such numbers. */
const cellBlock = 256
/** Of a process with its tokenizer. */
const processBytes = 100e6
/** Buffers of activations beside the logits, in rows of the embedding. */
const activationRows = 12

const bytesPerElement = (type: string): number => {
  const { blockBytes, blockSize } = ggmlTypeNamed(type.toUpperCase()) ?? { blockBytes: 2, blockSize: 1 }
  return blockBytes / blockSize
}

/** Bytes of keys and values of so many tokens in each sequence. */
function cacheBytes({ cached }: Shape, { context, parallel, keys, values }: RunOptions): number {
  const padded = (tokens: number): number => Math.ceil(tokens / cellBlock) * cellBlock
  return cached.reduce((sum, { blocks, keyWidth, valueWidth, window }) => {
    const cells = window === undefined ? padded(context) : padded(Math.min(context, window + batch))
    const bytes = keyWidth * bytesPerElement(keys) + valueWidth * bytesPerElement(values)
    return sum + blocks * parallel * cells * bytes
  }, 0)
}

export function footprintOf(model: Sized, target: Target, run: RunOptions): Footprint {
  const { shape, bytes, parameters } = model
  const cache = cacheBytes(shape, run)
  const compute = 4 * batch * (shape.vocabulary + activationRows * shape.embedding)
  // A token is generated behind half of the context, on average.
  const reads = bytes * shape.activeShare + cache / run.parallel / 2
  const operations = 2 * parameters * shape.activeShare
  const expertReads = bytes * shape.expertShare * expertUse(shape)
  const load = (gpuBytes: number, gpuReads: number): Load => ({
    ram: bytes + cache - gpuBytes + processBytes + (gpuBytes > 0 ? compute / 4 : compute),
    vram: gpuBytes + (gpuBytes > 0 ? compute : 0),
    seconds: gpuReads / target.vramBandwidth + (reads - gpuReads) / target.ramBandwidth,
    promptSeconds:
      ((gpuReads / reads) * operations) / target.gpuFlops +
      ((1 - gpuReads / reads) * operations) / target.cpuFlops,
  })
  const none = load(0, 0)
  const all = load(bytes + cache, reads)
  const known = model.header && knownMemory(model.header, shape, run)
  const dense = shape.expertShare < leastExperts
  // Attention first: it is read for every token, and experts are the part that the processor bears best.
  const attention = load(bytes * (1 - shape.expertShare) + cache, reads - expertReads)
  return {
    loads: dense
      ? [
          { ...none, ...known?.none },
          { ...all, ...known?.all },
        ]
      : [
          { ...none, ...known?.none },
          { ...attention, ...known?.attention },
          { ...all, ...known?.all },
        ],
    steps: dense ? [shape.blocks + 1] : [shape.blocks + 1, shape.blocks],
    fixedVram: known?.fixed ?? compute,
  }
}

/** Below this share of the weights experts are not placed apart. */
const leastExperts = 0.3

type Bytes = Pick<Load, 'ram' | 'vram'>

/** Memory by the header; undefined for a header of which too little is known, so that the shape has to do. */
function knownMemory(
  header: GgufHeader,
  { blocks }: Shape,
  { context, parallel, keys, values }: RunOptions,
): { none: Bytes; attention: Bytes; all: Bytes; fixed: number } | undefined {
  const estimated = (gpuLayers: number, cpuExpertLayers: number): { bytes: Bytes; fixed: number } => {
    const options = { context, parallel, cacheTypes: { keys, values }, gpuLayers, cpuExpertLayers }
    const { ramBytes, vramBytes, items } = estimateMemory(header, options)
    const compute = items.filter(({ device, use }) => device >= 0 && use === 'compute')
    return {
      bytes: { ram: ramBytes, vram: vramBytes.reduce((sum, each) => sum + each, 0) },
      fixed: compute.reduce((sum, item) => sum + item.bytes, 0),
    }
  }
  try {
    const all = estimated(Number.POSITIVE_INFINITY, 0)
    const attention = estimated(Number.POSITIVE_INFINITY, blocks)
    return { none: estimated(0, 0).bytes, attention: attention.bytes, all: all.bytes, fixed: all.fixed }
  } catch (error) {
    if (error instanceof QuenchError) return undefined
    throw error
  }
}

/** Share of the experts that a token uses. */
const expertUse = ({ activeShare, expertShare }: Shape): number =>
  Math.max(0, 1 - (1 - activeShare) / Math.max(expertShare, 1e-9))
