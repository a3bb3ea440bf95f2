/** Assembles the WebAssembly kernels, each NAME.wat into NAME-wasm.ts next to it: `npx tsx scripts/wasm.ts`. */
import { readFile, writeFile } from 'node:fs/promises'
import wabt from 'wabt'

const { parseWat } = await wabt()
for (const [path, name] of [
  ['backends/cpu/kernel', 'kernelWasm'],
  ['blockwise/descent', 'descentWasm'],
  ['blockwise/vectors', 'vectorsWasm'],
  ['quantize/search/fit', 'fitWasm'],
  ['quantize/search/bounds', 'boundsWasm'],
]) {
  const source = new URL(`../src/${path}.wat`, import.meta.url)
  const file = `${path.split('/').at(-1)}.wat`
  const assembled = parseWat(file, await readFile(source, 'utf8'), { simd: true }).toBinary({})
  const text = Buffer.from(assembled.buffer).toString('base64')
  await writeFile(
    new URL(`../src/${path}-wasm.ts`, import.meta.url),
    `/** ${file}, assembled by scripts/wasm.ts. */
export const ${name} =
  '${text}'
`,
  )
}
