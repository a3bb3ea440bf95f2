/** A comparison made up, with names as strangers may give them, for tests of reports. */
import type { ComparedFile, Comparison } from '../../src/compare/comparison.js'

/** Would run if it were not escaped. */
export const hostile =
  '<script>window.stolen=1</script>"\'`|$&<img src=http://example.invalid/x onerror=alert(1)>'

const estimate = (mean: number, se = mean / 20) => ({ mean, se })
const spread = (median: number) => ({ median, low: 0.9 * median, high: 1.1 * median, samples: [median] })
const quantiles = {
  min: 0,
  p1: 0,
  p5: 0,
  p10: 0,
  median: 0.01,
  p90: 0.1,
  p95: 0.2,
  p99: 0.4,
  p999: 0.6,
  max: 1,
}

function file(
  name: string,
  method: 'ptq' | 'qat',
  bytes: number,
  kld: number,
  onFront: boolean,
): ComparedFile {
  const difference = { se: 0, interval: [0, 0] as const }
  const errors = { p1: difference, p5: difference, p10: difference, median: difference, p90: difference }
  const tails = { p95: difference, p99: difference, p999: difference }
  return {
    name,
    method,
    importance: false,
    path: `/models/${name}.gguf`,
    hash: 'ab'.repeat(32),
    type: 'Q4_0',
    kvType: 'f16',
    bytes,
    bitsPerWeight: bytes / 1e8,
    perplexity: estimate(30 + kld),
    bitsPerByte: estimate(1.2),
    kld: { ...estimate(kld), ...quantiles, quantileErrors: { ...errors, ...tails } },
    reversedKld: estimate(kld),
    perplexityRatio: estimate(1 + kld),
    rmsProbabilityChange: estimate(0.01),
    top1: estimate(1 - kld, 0.001),
    topOverlap: { ...estimate(0.9), count: 16 },
    byConfidence: [],
    byDocument: [],
    kldInterval: [0.9 * kld, 1.1 * kld],
    onFront,
    beatenBy: [],
    ...(method === 'qat' && {
      recovered: { value: 0.5, interval: [0.45, 0.55] as const, significant: true },
      recoveredOfBest: {
        value: 0.4,
        interval: [0.35, 0.45] as const,
        significant: true,
        opponent: 'IQ4_XS imatrix',
      },
      effectiveBits: { value: 5, bound: 'exact' as const, interval: [4.9, 5.1] as const },
      compressionWon: { value: 0.1, interval: [0.08, 0.12] as const },
      training: {
        path: 'x.gguf',
        type: 'Q4_0',
        bytes,
        bitsPerWeight: 4.5,
        written: 'qat' as const,
        method: 'distill' as const,
        weights: { trained: 1000, all: 1000, untrained: [] },
        plan: {
          method: 'distill' as const,
          inMemory: true,
          keepsActivations: true,
          spillBytes: 0,
          blockBytes: 1e6,
          checkpointBytes: 0,
          momentBytes: 0,
          diskBytes: 1e6,
          disk: [{ what: 'finished blocks', amount: 1e6 }],
          memory: 8e9,
          teacher: { topK: 0, bytes: 0 },
          untrained: [],
          stages: [
            {
              stage: 'distill' as const,
              bytes: 1e9,
              seconds: 10,
              memory: [],
              work: [],
              tokensPerSecond: 512,
            },
          ],
          tokens: 1000,
          calibration: 0,
          writing: { tokens: 0, text: 0, copy: 0, seconds: 0 },
        },
        stages: [{ stage: 'distill' as const, seconds: 10, kld: estimate(0.01), taken: true }],
        peakBytes: 5e8,
        steps: 20,
        tokens: 1000,
        distinctTokens: 1000,
        textTokens: { files: 500, general: 500, selfWritten: 0, distinct4: 0.9 },
        seconds: 10,
        tokensPerSecond: 100,
        validation: [0, 10, 20].map((step) => ({ step, ...estimate(0.02 / (step + 1)) })),
        opponent: 'importance' as const,
        kinds: ['prose', 'code'].map((kind, i) => ({
          kind,
          stock: estimate(0.02),
          opponent: estimate(0.015),
          file: estimate(0.01),
          recovered: estimate(0.5 + 0.1 * i),
          gain: estimate(0.3 + 0.1 * i),
        })),
        recovered: 0.55,
        recoveredError: 0.02,
        worst: 'prose',
        check: { tensors: 1, weights: 1, differing: 0 },
      },
    }),
    neededBytes: bytes + 1e8,
    speed: {
      path: name,
      type: 'Q4_0',
      bytes,
      bitsPerWeight: 4.5,
      threads: 2,
      loadMs: spread(10),
      memory: {
        weightsBytes: bytes,
        kvBytes: 1e6,
        contextTokens: 256,
        computeBytes: 1e6,
        outputBytes: 1e3,
        residentBytes: bytes,
      },
      tests: [
        { kind: 'prompt', tokens: 512, depth: 0, tokensPerSecond: spread(1e9 / bytes), relative: spread(1) },
        { kind: 'generate', tokens: 64, depth: 0, tokensPerSecond: spread(1e8 / bytes), relative: spread(1) },
      ],
    },
    tensorErrors: ['token_embd.weight', hostile, 'blk.0.ffn_down.weight'].map((tensor, i) => ({
      name: tensor,
      type: 'Q4_0',
      weights: 1000,
      relativeError: i === 2 ? 0 : kld * (i + 1),
    })),
    continuations: [
      { tokens: [1, 2, 3], pieces: ['the', ' sea', ` ${hostile}`] },
      { tokens: [4, 5], pieces: ['of', ' land'] },
    ],
    parts: ['one.txt', hostile].map((part, i) => ({ name: part, tokens: 100, kld: kld * (1 + i / 10) })),
  }
}

export const comparison: Comparison = {
  model: {
    path: `/models/${hostile.replaceAll('/', '_')}.gguf`,
    type: 'F16',
    bytes: 9e8,
    bitsPerWeight: 16,
    perplexity: estimate(30),
    bitsPerByte: estimate(1.2),
    name: 'F16',
    hash: 'cd'.repeat(32),
    continuations: [
      { tokens: [1, 2, 9], pieces: ['the', ' sea', ' again'] },
      { tokens: [4, 5], pieces: ['of', ' land'] },
    ],
  },
  files: [
    file('Q8_0', 'ptq', 5e8, 0.001, true),
    file('Q4_0', 'ptq', 3e8, 0.02, false),
    file('Q4_0 QAT', 'qat', 3e8, 0.01, true),
    file(hostile, 'ptq', 2e8, 0.1, true),
  ],
  pairs: [
    { a: 'Q8_0', b: hostile, difference: -0.1, p: 0.0001, better: 'a' },
    { a: 'Q8_0', b: 'Q4_0', difference: -0.01, p: 0.2, better: 'tie' },
  ],
  verdict: [`Take ${hostile}.`],
  failures: [
    { path: `${hostile}.gguf`, problem: `${hostile}: it gives predictions that are not finite numbers` },
  ],
  warnings: [hostile],
  prompts: [
    { text: hostile, tokens: [1] },
    { text: 'a land', tokens: [2] },
  ],
  settings: {
    data: ['text.txt'],
    textHash: 'ef'.repeat(32),
    context: 512,
    windows: 32,
    tokens: 8160,
    repetitions: 5,
    threads: null,
    threadsUsed: 2,
    continuationTokens: 48,
    contextTokens: 4096,
    machine: {
      cpu: hostile,
      cores: 2,
      memoryBytes: 8e9,
      platform: 'linux-x64',
      llama: '3.22.1',
      llamaVersion: '0.5.0, commit 0ad4a86',
    },
    versions: { quench: '0.1.0', llama: '3.22.1' },
  },
  store: { path: 'measurements.db', measurements: 40, repeated: 0 },
}

/** As many files as people compare: a ladder of PTQ, the same with an importance matrix, and some that were trained. */
export const crowded: Comparison = {
  ...comparison,
  files: [2.1, 2.6, 3.4, 3.9, 4.5, 4.6, 4.9, 5.6, 6.6, 8.5].flatMap((bits, i) => {
    const kld = 2 ** (3 - bits)
    return [
      file(`model-it-Q${i}_K_M`, 'ptq', bits * 1e8, kld, i % 2 === 0),
      file(`model-it-Q${i}_K_M imatrix`, 'ptq', bits * 1e8, 0.8 * kld, false),
      ...(i < 5 ? [file(`model-it-Q${i}_K_M-QAT`, 'qat', bits * 1e8, 0.5 * kld, true)] : []),
    ]
  }),
}

/** Marks of each picture of a report on a comparison, by figure and class, as they must be. */
export function expectedMarks({ files }: Comparison): Record<string, Record<string, number>> {
  const trained = files.flatMap(({ training }) => (training ? [training] : []))
  const measured = files.filter(({ speed }) => speed)
  const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0)
  const validations = sum(trained.map(({ validation }) => validation.length))
  return {
    'plot-size': { file: files.length, 'error-bar': files.length, name: files.length, front: 1 },
    ...(measured.length > 0 && {
      'plot-speed': { file: measured.length, 'error-bar': measured.length, spread: measured.length },
    }),
    'plot-tensors': { tensor: sum(files.map(({ tensorErrors }) => tensorErrors.length)) },
    ...(trained.length > 0 && {
      'plot-training': { validation: validations, 'error-bar': validations, curve: trained.length },
    }),
    'plot-documents': { document: sum(files.map(({ parts }) => parts.length)) },
  }
}
