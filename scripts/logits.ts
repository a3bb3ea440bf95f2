/**
 * Compares quench's forward pass of a model with libllama's on real text. Run it on a real file after adding an architecture.
 * The file should be F32, F16 or BF16, since libllama rounds activations if weights are quantized.
 *
 *   npx tsx scripts/logits.ts model-f16.gguf text.txt [tokens]
 */
import { readFile } from 'node:fs/promises'
import { LlamaModel } from '../src/llama/index.js'
import { llamaLogits, nmse, ownLogits } from '../test/support/logits.js'

const [path, textPath, count = '512'] = process.argv.slice(2)
if (!path || !textPath) throw new Error('usage: npx tsx scripts/logits.ts <model.gguf> <text.txt> [tokens]')
const text = await readFile(textPath, 'utf8')
using model = await LlamaModel.load(path, { vocabOnly: true })
const tokens = model.tokenize(text.slice(0, 16 * Number(count)), { addSpecial: true }).slice(0, Number(count))
const own = await ownLogits(path, tokens, tokens.length)
const reference = await llamaLogits(path, tokens, tokens.length)

const logSum = (x: Float32Array): number => {
  const most = x.reduce((m, v) => Math.max(m, v))
  return most + Math.log(x.reduce((s, v) => s + Math.exp(v - most), 0))
}
const vocabulary = own.length / tokens.length
let [divergence, same] = [0, 0]
for (let at = 0; at < own.length; at += vocabulary) {
  const [a, b] = [own, reference].map((logits) => logits.subarray(at, at + vocabulary))
  const [la, lb] = [logSum(a), logSum(b)]
  for (const [i, x] of b.entries()) divergence += Math.exp(x - lb) * (x - lb - (a[i] - la))
  const best = (x: Float32Array): number => x.indexOf(x.reduce((m, v) => Math.max(m, v)))
  same += Number(best(a) === best(b))
}
console.log(`${tokens.length} tokens of ${textPath}`)
console.log(`normalized squared error of logits  ${nmse(own, reference).toExponential(2)}`)
console.log(`KL divergence, nats per token       ${(divergence / tokens.length).toExponential(2)}`)
console.log(`same most probable token            ${((100 * same) / tokens.length).toFixed(2)} %`)
