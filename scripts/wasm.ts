/** Assembles src/train/adam.wat into src/train/adam-wasm.ts: `npx tsx scripts/wasm.ts`. */
import { readFile, writeFile } from 'node:fs/promises'
import wabt from 'wabt'

const source = new URL('../src/train/adam.wat', import.meta.url)
const { parseWat } = await wabt()
const assembled = parseWat('adam.wat', await readFile(source, 'utf8'), { simd: true }).toBinary({})
const text = Buffer.from(assembled.buffer).toString('base64')
await writeFile(
  new URL('../src/train/adam-wasm.ts', import.meta.url),
  `/** adam.wat, assembled by scripts/wasm.ts. */
export const adamWasm =
  '${text}'
`,
)
