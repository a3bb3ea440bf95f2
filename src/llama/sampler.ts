/**
 * Draws a token from a row of logits, in two passes if nothing is cut off.
 *
 * Top-k and top-p are both reduced to one number, the smallest logit that is kept, so nothing is sorted: top-k keeps a heap of
 * the k largest, top-p a histogram of probability over logits in steps of 1/256 nat, which is the accuracy of its cut. Tokens
 * that tie with the smallest kept logit are kept too.
 */
const BINS_PER_NAT = 256
const BINS = 32 * BINS_PER_NAT

/** Tokens per running sum. */
const BLOCK = 256
/**
 * exp of minus the middle of each step of 1/1024 nat, down to 32 nats below the most probable token: a token's probability is
 * accurate to 0.05 %. `Math.exp` for every token of a vocabulary of 262,144 took longer than the model.
 */
const STEPS_PER_NAT = 1024
const STEPS = 32 * STEPS_PER_NAT
const odds = Float64Array.from({ length: STEPS }, (_, i) => Math.exp(-(i + 0.5) / STEPS_PER_NAT))

export class Sampler {
  private readonly temperature: number
  private readonly topK: number
  private readonly topP: number
  /** Running sums of the unnormalized probabilities, after each block of tokens. */
  private readonly sums: Float64Array
  private readonly heap: Float32Array
  private readonly mass = new Float64Array(BINS)

  /** @param options as of `sampleSequences`. Arrays are allocated here, once. */
  constructor(
    private readonly vocabSize: number,
    options: { temperature?: number; topK?: number; topP?: number },
  ) {
    this.temperature = options.temperature ?? 1
    this.topK = Math.min(options.topK ?? vocabSize, vocabSize)
    this.topP = options.topP ?? 1
    if (!(this.temperature >= 0)) throw new RangeError(`temperature ${this.temperature} is not 0 or more`)
    if (!Number.isInteger(this.topK) || this.topK < 1)
      throw new RangeError(`topK ${this.topK} is not 1 or more`)
    if (!(this.topP > 0 && this.topP <= 1)) throw new RangeError(`topP ${this.topP} is not in (0, 1]`)
    this.sums = new Float64Array(Math.ceil(vocabSize / BLOCK))
    this.heap = new Float32Array(this.topK)
  }

  /**
   * The token at point `uniform` (in [0, 1)) of softmax(logits / temperature), after top-k and then top-p.
   * @param offset where the row of `vocabSize` logits begins.
   */
  pick(logits: Float32Array, offset: number, uniform: number): number {
    const max = maximum(logits, offset, this.vocabSize)
    if (this.temperature === 0) return logits.indexOf(max, offset) - offset
    let least = Number.NEGATIVE_INFINITY
    if (this.topK < this.vocabSize) least = this.leastOfTopK(logits, offset)
    if (this.topP < 1) least = this.leastOfTopP(logits, offset, max, least)

    const { sums, vocabSize } = this
    const row = logits.subarray(offset, offset + vocabSize)
    const scale = STEPS_PER_NAT / this.temperature
    const floor = Math.max(least, max - (STEPS - 1) / scale)
    let total = 0
    for (let block = 0, i = 0; i < vocabSize; block++) {
      for (const end = Math.min(i + BLOCK, vocabSize); i < end; i++) {
        const logit = row[i]
        if (logit >= floor) total += odds[((max - logit) * scale) | 0]
      }
      sums[block] = total
    }
    // The first sum above the point. An excluded token adds nothing to the sum before it, so it is never drawn.
    const point = uniform * total
    let block = 0
    while (sums[block] <= point && block < sums.length - 1) block++
    let sum = block === 0 ? 0 : sums[block - 1]
    let last = 0
    for (let i = block * BLOCK; i < Math.min((block + 1) * BLOCK, vocabSize); i++) {
      if (!(row[i] >= floor)) continue
      sum += odds[((max - row[i]) * scale) | 0]
      last = i
      if (sum > point) break
    }
    return last
  }

  /** The k-th largest logit: the root of a min-heap of the k largest. */
  private leastOfTopK(logits: Float32Array, offset: number): number {
    const { heap, topK, vocabSize } = this
    for (let i = 0; i < topK; i++) heap[i] = logits[offset + i]
    for (let i = (topK >> 1) - 1; i >= 0; i--) sink(heap, i)
    for (let i = offset + topK; i < offset + vocabSize; i++) {
      if (logits[i] > heap[0]) {
        heap[0] = logits[i]
        sink(heap, 0)
      }
    }
    return heap[0]
  }

  /** The smallest logit of the most probable tokens that together have probability `topP` among those from `floor` up. */
  private leastOfTopP(logits: Float32Array, offset: number, max: number, floor: number): number {
    const { mass, topP, vocabSize } = this
    const scale = 1 / this.temperature
    let total = 0
    mass.fill(0)
    for (let i = offset; i < offset + vocabSize; i++) {
      if (!(logits[i] >= floor)) continue
      const nats = (max - logits[i]) * scale
      const probability = Math.exp(-nats)
      mass[Math.min(Math.floor(nats * BINS_PER_NAT), BINS - 1)] += probability
      total += probability
    }
    let bin = 0
    for (let sum = mass[0]; sum < topP * total && bin < BINS - 1; ) sum += mass[++bin]
    if (bin === BINS - 1) return floor
    return Math.max(floor, max - ((bin + 1) / BINS_PER_NAT) * this.temperature)
  }
}

function maximum(logits: Float32Array, offset: number, count: number): number {
  // Two at a time, since each comparison depends on the one before it.
  let even = Number.NEGATIVE_INFINITY
  let odd = even
  const end = offset + count
  for (let i = offset; i + 1 < end; i += 2) {
    if (logits[i] > even) even = logits[i]
    if (logits[i + 1] > odd) odd = logits[i + 1]
  }
  return Math.max(even, odd, logits[end - 1])
}

/** Sifts the value at `start` down a min-heap. */
function sink(heap: Float32Array, start: number): void {
  const value = heap[start]
  let i = start
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++
    if (value <= heap[child]) break
    heap[i] = heap[child]
    i = child
  }
  heap[i] = value
}
