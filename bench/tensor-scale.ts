/**
 * What the scale of a tensor is worth at NVFP4: KL divergence from the model, in nats a token, of a file by ggml's quantizer without
 * such scales, with them, and with them and a search for the scales of groups; what each recovers of the first's, paired.
 *
 * The model is made smaller first, without a change of what it computes: weights of norms are multiplied by a factor, and the matrices
 * that read their results are divided by it. A factor of 1 leaves it as it is.
 *
 *   npx tsx bench/tensor-scale.ts [MODEL-f16.gguf TEXT.txt] [tokens = 4096] [factor = 8]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { plusMinus } from '../src/format.js'
import { unrounded } from '../src/formats/table.js'
import { createGguf, openGguf } from '../src/gguf/index.js'
import { evaluateFiles, quantizeFile, readTexts, recovered } from '../src/index.js'
import { quantizeRowsAsync } from '../src/llama/index.js'
import { readWeights } from '../src/models/weights.js'
import { recipeMetadata } from '../src/quantize/by-recipe.js'
import { typesOf } from '../src/quantize/recipe-types.js'

const type = 'NVFP4'
const [
  model = 'models/quench-5m-f16.gguf',
  text = 'models/quench-5m.test.txt',
  tokens = '4096',
  factor = '8',
] = process.argv.slice(2)

const folder = await mkdtemp(join(tmpdir(), 'quench-tensor-scale-'))
const small = join(folder, 'small.gguf')
const paths = ['without', 'with', 'searched'].map((name) => join(folder, `${name}.gguf`))
try {
  await writeSmall(model, small, Number(factor))
  await writePlain(small, paths[0])
  await quantizeFile(small, paths[1], type)
  await quantizeFile(small, paths[2], type, { method: 'search' })
  const { files } = await evaluateFiles({
    reference: small,
    files: paths,
    text: await readTexts([text]),
    maxTokens: Number(tokens),
  })
  for (const [i, name] of ['without scales', 'with scales', 'with scales, searched'].entries()) {
    const { kld } = files[i]
    const share = recovered(files[i], files[0])
    console.log(
      `${name.padEnd(24)}${kld.mean.toFixed(5)} ${plusMinus(kld.se, 5)}  ${(100 * share.mean).toFixed(1)} ${plusMinus(100 * share.se, 1)} %`,
    )
  }
} finally {
  await rm(folder, { recursive: true })
}

/** The file by ggml's quantizer, without scales of tensors. */
async function writePlain(input: string, output: string): Promise<void> {
  const gguf = await openGguf(input)
  const types = typesOf(gguf, type)
  const tensors = gguf.tensors.map((t) => ({ ...t, type: types.get(t.name) ?? t.type }))
  const writer = await createGguf(output, { metadata: recipeMetadata(gguf, output, type), tensors })
  for (const [i, tensor] of gguf.tensors.entries()) {
    const to = tensors[i].type
    const bytes =
      to === tensor.type
        ? await gguf.read(tensor)
        : await quantizeRowsAsync(to, await readWeights(gguf, tensor), tensor.shape[0])
    await writer.write(tensor.name, bytes)
  }
  await writer.finish()
  await gguf.close()
}

/** The model with matrices of the blocks that read a norm divided by `factor`, and those norms multiplied by it, in F32. */
async function writeSmall(input: string, output: string, factor: number): Promise<void> {
  const gguf = await openGguf(input)
  const tensors = gguf.tensors.map((t) => ({ ...t, type: unrounded.type }))
  const writer = await createGguf(output, { metadata: gguf.metadata, tensors })
  for (const tensor of gguf.tensors) {
    const weights = await readWeights(gguf, tensor)
    const by = /\.(attn|ffn)_norm\.weight$/.test(tensor.name)
      ? factor
      : /\.(attn_[qkv]|ffn_(gate|up))\.weight$/.test(tensor.name)
        ? 1 / factor
        : 1
    await writer.write(tensor.name, unrounded.encode({ w: weights.map((w) => w * by) }))
  }
  await writer.finish()
  await gguf.close()
}
