/** The kernel is assembled from its source, and its sum of squares is one. */
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import wabt from 'wabt'
import { kernelWasm } from '../../src/train/kernel-wasm.js'

test('the kernel is what its source says', async () => {
  const { parseWat } = await wabt()
  const source = await readFile(new URL('../../src/train/kernel.wat', import.meta.url), 'utf8')
  const { buffer } = parseWat('kernel.wat', source, { simd: true }).toBinary({})
  expect(kernelWasm).toBe(Buffer.from(buffer).toString('base64'))
})
