/** Every architecture is tested in every way. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { architectureNames } from '../../src/models/table.js'

const files = [
  'architectures',
  ...['gradients', 'reader', 'train', 'recipes'].map((way) => `architectures-${way}`),
]

test.each(files)('%s.test.ts has a row for every architecture', (file) => {
  const text = readFileSync(join(import.meta.dirname, '../oracle', `${file}.test.ts`), 'utf8')
  // Llama is the default of these models.
  const others = architectureNames.filter((name) => name !== 'llama')
  expect(others.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
})
