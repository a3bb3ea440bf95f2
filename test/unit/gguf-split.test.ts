/** Models split over several files. */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'
import { scratchFolder } from './gguf-bytes.js'

const folder = scratchFolder()

/** Writes three parts with the tensors t0, t1, t2, in a folder of their own; `over` replaces keys of a part. */
async function split(
  name: string,
  over: Record<number, Record<string, number>> = {},
  names = ['t0', 't1', 't2'],
) {
  mkdirSync(join(folder, name))
  const paths: string[] = []
  for (let i = 0; i < 3; i++) {
    const path = join(folder, name, `m-0000${i + 1}-of-00003.gguf`)
    const metadata = new Metadata(path)
    if (i === 0) metadata.set('general.architecture', { type: 'string', value: 'llama' })
    const keys = { 'split.no': i, 'split.count': 3, 'split.tensors.count': 3, ...over[i] }
    for (const [key, value] of Object.entries(keys)) metadata.set(key, { type: 'int32', value })
    const writer = await createGguf(path, { metadata, tensors: [{ name: names[i], shape: [2], type: 0 }] })
    await writer.write(names[i], new Uint8Array(8).fill(i))
    await writer.finish()
    paths.push(path)
  }
  return paths
}

test('the first part opens all parts as one file', async () => {
  const paths = await split('whole')
  const file = await openGguf(paths[0])
  expect(file.files).toEqual(paths)
  expect([...file.metadata].map(([key]) => key)).toEqual(['general.architecture'])
  expect(file.tensors.map((t) => [t.name, t.file])).toEqual([
    ['t0', 0],
    ['t1', 1],
    ['t2', 2],
  ])
  for (const [i, tensor] of file.tensors.entries()) {
    expect(await file.read(tensor)).toEqual(new Uint8Array(8).fill(i))
  }
  await file.close()
})

test('what is wrong with a split model is said', async () => {
  const other = await split('other')
  await expect(openGguf(other[1])).rejects.toThrow(`this is part 2 of 3; open ${other[0]} instead`)
  const renamed = join(folder, 'other', 'model.gguf')
  copyFileSync(other[0], renamed)
  await expect(openGguf(renamed)).rejects.toThrow('is not named NAME-00001-of-0000N.gguf')

  const missing = await split('missing')
  rmSync(missing[2])
  await expect(openGguf(missing[0])).rejects.toThrow(`${missing[2]}: no such file`)

  const shuffled = await split('shuffled', { 1: { 'split.no': 2 } })
  await expect(openGguf(shuffled[0])).rejects.toThrow(`${shuffled[1]}: this is not part 2 of 3`)
  const count = await split('count', { 0: { 'split.tensors.count': 4 } })
  await expect(openGguf(count[0])).rejects.toThrow('its parts have 3 tensors, not 4')
  const twice = await split('twice', {}, ['t0', 't1', 't0'])
  await expect(openGguf(twice[0])).rejects.toThrow("the tensor 't0' is in another part too")
})
