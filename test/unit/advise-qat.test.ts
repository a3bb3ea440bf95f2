/** Whether a file is QAT, how sure that is, and whether its type is the one it was trained for. */
import { beforeAll, describe, expect, test } from 'vitest'
import { loadCatalogue } from '../../src/advise/catalogue/catalogue.js'
import type { Catalogue } from '../../src/advise/catalogue/types.js'
import { detectQat, wasteOf } from '../../src/advise/qat.js'

let catalogue: Catalogue
beforeAll(async () => {
  catalogue = await loadCatalogue()
})
const detect = (type: string, name: string, more: object = {}) =>
  detectQat(catalogue, { names: [name], type, ...more })

describe('by what is said of a file', () => {
  test.each([
    [
      'Q4_0',
      'gemma-3-4b-it-qat-q4_0.gguf',
      { qat: true, confidence: 'guess', trainedFor: 'Q4_0', suits: true },
    ],
    ['Q6_K', 'gemma-3-4b-it-qat-q4_0-Q6_K.gguf', { qat: true, trainedFor: 'Q4_0', suits: false }],
    ['Q4_0', 'my-model-QAT.gguf', { qat: true, confidence: 'guess', trainedFor: 'Q4_0', suits: true }],
    ['Q8_0', 'my-model-QAT.gguf', { qat: true, confidence: 'guess' }],
    ['NVFP4', 'Qwen3-4B-QAD-NVFP4.gguf', { qat: true, trainedFor: 'NVFP4', suits: true }],
    ['Q4_0', 'gemma-3-4b-it.gguf', { qat: false, confidence: 'likely' }],
    ['Q4_K_M', 'squatter-7b.gguf', { qat: false }],
    ['Q4_K_M', 'Qatar-7b.gguf', { qat: false }],
  ])('%s %s', (type, name, expected) => {
    const found = detect(type, name)
    expect(found).toMatchObject(expected)
    if (!('trainedFor' in expected)) expect(found.suits).toBeUndefined()
  })

  test('a repository of the catalogue is surer than a name', () => {
    expect(detect('Q4_0', 'model.gguf', { repository: 'google/gemma-3-4b-it-qat-q4_0-gguf' })).toMatchObject({
      ...{ qat: true, confidence: 'likely', trainedFor: 'Q4_0', suits: true },
    })
  })

  test('what quench trained is certain, whatever the name; a grid is if the name says so too', () => {
    expect(detect('Q2_K', 'x.gguf', { trainedHere: true })).toMatchObject({
      qat: true,
      confidence: 'certain',
      suits: true,
    })
    const lattice = { type: 'Q4_0', share: 0.98 }
    expect(detect('BF16', 'x-qat.gguf', { lattice })).toMatchObject({
      ...{ qat: true, confidence: 'certain', trainedFor: 'Q4_0', suits: false },
    })
    const dequantized = detect('BF16', 'x.gguf', { lattice })
    expect(dequantized).toMatchObject({ qat: true, confidence: 'likely', trainedFor: 'Q4_0', suits: false })
    expect(dequantized.because).toContain('or of a file that was quantized before')
    const bits = new Map(catalogue.types.map(({ type, bitsPerWeight }) => [type, bitsPerWeight]))
    expect(wasteOf(dequantized, 'BF16', bits)).toMatch(
      /^It was made for Q4_0, and its weights lie on that grid: BF16 stores/,
    )
    expect(detect('BF16', 'x.gguf', { lattice: { share: 0 } })).toMatchObject({
      qat: false,
      confidence: 'certain',
    })
  })
})

test('a QAT checkpoint in a larger type is a waste, in a smaller one rounded again', () => {
  const bits = new Map(catalogue.types.map(({ type, bitsPerWeight }) => [type, bitsPerWeight]))
  const waste = (type: string, name: string) => wasteOf(detect(type, name), type, bits)
  expect(waste('Q6_K', 'a-qat-q4_0.gguf')).toMatch(/made for Q4_0.*41 % more space/)
  expect(waste('Q3_K_M', 'a-qat-q4_0.gguf')).toMatch(/rounds it once more/)
  expect(waste('Q4_0', 'a-qat-q4_0.gguf')).toBeUndefined()
  expect(waste('Q6_K', 'a.gguf')).toBeUndefined()
})
