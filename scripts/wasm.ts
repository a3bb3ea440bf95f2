/** Assembles src/backends/cpu/kernel.wat into src/backends/cpu/kernel-wasm.ts: `npx tsx scripts/wasm.ts`. */
import { readFile, writeFile } from 'node:fs/promises'
import wabt from 'wabt'

const source = new URL('../src/backends/cpu/kernel.wat', import.meta.url)
const { parseWat } = await wabt()
const assembled = parseWat('kernel.wat', await readFile(source, 'utf8'), { simd: true }).toBinary({})
const text = Buffer.from(assembled.buffer).toString('base64')
await writeFile(
  new URL('../src/backends/cpu/kernel-wasm.ts', import.meta.url),
  `/** kernel.wat, assembled by scripts/wasm.ts. */
export const kernelWasm =
  '${text}'
`,
)
