/**
 * `quench convert` beside llama.cpp's convert_hf_to_gguf.py, on generated checkpoints of every architecture, and the tokens of the files beside
 * those of Transformers' tokenizers on 10,000 lines.
 *
 *     npx tsx bench/convert.ts [LLAMA_CPP_FOLDER] [CASE...]
 *
 * The folder is a checkout of llama.cpp at the packaged release. The converter runs in the Python that QUENCH_PYTHON names (default python3),
 * which needs torch, transformers, sentencepiece and protobuf. Without a folder only tokens are compared. Prints every difference, and ends with 1 if one
 * is not among those that docs/make.md explains.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Tokenizer } from '@huggingface/tokenizers'
import { convertCheckpoint } from '../src/convert/index.js'
import { LlamaModel } from '../src/llama/index.js'
import { provenanceKeys } from '../src/provenance/record.js'
import { type CheckpointOptions, writeCheckpoint } from '../test/support/checkpoints.js'
import { compareGguf } from '../test/support/compare-gguf.js'
import { oddLines } from '../test/support/lines.js'
import { byteLevelBpe, spacedBpe, type TokenizerFiles, unigram } from '../test/support/tokenizer-files.js'

interface Case extends CheckpointOptions {
  /** The way of splitting by llama.cpp's name. */
  readonly pre?: string
  /** The same tokenizer as tokenizer.json, for checkpoints that have only tokenizer.model. */
  readonly json?: TokenizerFiles
  /** Keys that differ, which docs/make.md explains. */
  readonly explained?: readonly string[]
  /** Lines that @huggingface/tokenizers splits otherwise than Transformers does. */
  readonly except?: RegExp
  /** Whether llama.cpp's converter refuses it. */
  readonly oursAlone?: true
}

const text = readFileSync(new URL('../models/quench-5m.test.txt', import.meta.url), 'utf8').slice(0, 50_000)
const key = (...names: string[]) => names.map((name) => `tokenizer.ggml.${name}`)
const llama3 = {
  ...{ rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
  original_max_position_embeddings: 256,
}
const spaced = (model: boolean, prefix: boolean) => spacedBpe(text, { model, prefix, json: !model })
const cases: Readonly<Record<string, Case>> = {
  'llama3-shards': {
    ...{ family: 'llama', tokenizer: byteLevelBpe(text, 'llama-bpe'), shards: 3, pre: 'llama-bpe' },
    config: { rope_scaling: llama3 },
    files: {
      'README.md':
        '---\nlicense: llama3.2\nlanguage:\n- en\n- no\ntags: [a, b]\nbase_model: org/Base-Model-1B-v2\npipeline_tag: text-generation\n---\n# Card\n',
      'generation_config.json': { temperature: 0.6, top_p: 0.9, top_k: 40, do_sample: true },
      'chat_template.jinja': '{{ messages }}',
    },
  },
  'llama2-f16': { family: 'llama', dtype: 'F16', tokenizer: spaced(true, true), json: spaced(false, true) },
  'llama2-json': {
    ...{ family: 'llama', dtype: 'F32', tokenizer: spaced(false, true) },
    explained: key('scores'),
  },
  'llama-unigram': {
    ...{ family: 'llama', tokenizer: unigram(text, { model: true }), json: unigram(text) },
    explained: key(
      ...['model', 'add_space_prefix', 'remove_extra_whitespaces', 'bos_token_id', 'eos_token_id'],
      ...['unknown_token_id', 'add_eos_token'],
    ),
  },
  'llama-unigram-json': { family: 'llama', tokenizer: unigram(text), oursAlone: true },
  mistral: { family: 'mistral', tokenizer: byteLevelBpe(text, 'tekken'), pre: 'tekken' },
  smollm2: {
    ...{ family: 'llama', tied: true, tokenizer: byteLevelBpe(text, 'smollm', 400, true), pre: 'smollm' },
    except: /[\p{No}\p{Nl}]/u,
  },
  smollm3: {
    ...{
      family: 'smollm3',
      tied: true,
      tokenizer: byteLevelBpe(text, 'llama-bpe', 400, true),
      pre: 'llama-bpe',
    },
    explained: key('add_bos_token'),
  },
  qwen2: { family: 'qwen2', tokenizer: byteLevelBpe(text, 'qwen2', 400, true), pre: 'qwen2' },
  qwen3: { family: 'qwen3', tied: true, tokenizer: byteLevelBpe(text, 'qwen2', 400, true), pre: 'qwen2' },
  gemma3: { family: 'gemma3', tokenizer: spaced(true, false), json: spaced(false, false) },
  'gemma3-f16': {
    family: 'gemma3',
    dtype: 'F16',
    tokenizer: spaced(true, false),
    json: spaced(false, false),
  },
  'gemma3-json': { family: 'gemma3', tokenizer: spaced(false, false), pre: 'gemma4' },
  'gemma3-images': { family: 'gemma3-images', tokenizer: spaced(true, false), json: spaced(false, false) },
  gemma4: { family: 'gemma4', tokenizer: spaced(false, false) },
  'gemma4-values': {
    ...{ family: 'gemma4', tokenizer: spaced(false, false) },
    config: { attention_k_eq_v: false },
  },
  'gemma4-small': { family: 'gemma4-small', tokenizer: spaced(false, false) },
}

const lineCount = 10_000
const [llamaCpp, ...only] = process.argv.slice(2)
const python = process.env.QUENCH_PYTHON ?? 'python3'
const driver = fileURLToPath(new URL('convert/convert_hf.py', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'quench-bench-'))
let failures = 0
try {
  const lines = oddLines(lineCount).map((line) => line.normalize('NFC'))
  for (const [name, options] of Object.entries(cases)) {
    if (only.length > 0 && !only.includes(name)) continue
    const folder = join(root, name)
    writeCheckpoint(folder, options)
    const ours = `${folder}.ours.gguf`
    const result = await convertCheckpoint({ folder, output: ours })
    console.log(`${name}: ${result.architecture}, ${result.tensors} tensors in ${result.type}`)
    await compareTokens(ours, options, lines)
    if (llamaCpp !== undefined && !options.oursAlone) await compareFiles(folder, ours, options)
  }
} finally {
  rmSync(root, { recursive: true })
}
process.exitCode = failures > 0 ? 1 : 0

async function compareTokens(
  path: string,
  { tokenizer, json, except }: Case,
  lines: string[],
): Promise<void> {
  const { files } = json ?? tokenizer
  const reference = new Tokenizer(files['tokenizer.json'] as object, files['tokenizer_config.json'] as object)
  const model = await LlamaModel.load(path, { vocabOnly: true })
  try {
    const compared = lines.filter((line) => !except?.test(line))
    const wrong = compared.filter((line) => {
      const ids = model.tokenize(line, { addSpecial: true, parseSpecial: true })
      return ids.join() !== reference.encode(line).ids.join()
    })
    console.log(`  tokens: ${compared.length - wrong.length} of ${compared.length} lines equal`)
    for (const line of wrong.slice(0, 3)) console.log(`    ${JSON.stringify(line)}`)
    failures += wrong.length
  } finally {
    model.dispose()
  }
}

async function compareFiles(
  folder: string,
  ours: string,
  { pre = 'default', explained = [] }: Case,
): Promise<void> {
  const theirs = `${folder}.theirs.gguf`
  const args = [driver, llamaCpp as string, pre, folder, '--outfile', theirs]
  const { status, stderr, error } = spawnSync(python, args, { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`${python} failed: ${error?.message ?? stderr.slice(-2000)}`)
  const differences = await compareGguf(ours, theirs)
  const known = [...provenanceKeys, ...explained]
  const unexplained = differences.filter((line) => !known.some((each) => line.startsWith(`${each}: `)))
  console.log(`  llama.cpp's: ${differences.length} differences, ${unexplained.length} unexplained`)
  for (const line of differences) console.log(`    ${line}`)
  failures += unexplained.length
}
