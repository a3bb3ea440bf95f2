/** A model in two files, as llama-gguf-split makes them. */
import { join } from 'node:path'
import { createGguf, Metadata, openGguf } from '../../src/gguf/index.js'

/** @returns the paths of the parts */
export async function writeParts(model: string, folder: string): Promise<string[]> {
  const source = await openGguf(model)
  const half = Math.floor(source.tensors.length / 2)
  const parts = [source.tensors.slice(0, half), source.tensors.slice(half)]
  const paths = [1, 2].map((part) => join(folder, `split-0000${part}-of-00002.gguf`))
  for (const [i, tensors] of parts.entries()) {
    const metadata = new Metadata(paths[i], i === 0 ? source.metadata : [])
    metadata.set('split.no', { type: 'uint16', value: i })
    metadata.set('split.count', { type: 'uint16', value: 2 })
    metadata.set('split.tensors.count', { type: 'int32', value: source.tensors.length })
    const writer = await createGguf(paths[i], { metadata, tensors })
    for (const tensor of tensors) await writer.write(tensor.name, await source.read(tensor))
    await writer.finish()
  }
  await source.close()
  return paths
}
