/** Copies of a GGUF file with other metadata or tensors. */
import { createGguf, type GgufValue, Metadata, openGguf } from '../../src/gguf/index.js'

/** A tensor of a copy: `data` without change those of the original. */
export interface CopiedTensor {
  name: string
  shape: readonly number[]
  type: number
  data: Uint8Array
}

/** @param change values by key; undefined removes the key. @param tensors what becomes of the tensors */
export async function withMetadata(
  from: string,
  to: string,
  change: Record<string, GgufValue | undefined>,
  tensors: (all: CopiedTensor[]) => CopiedTensor[] = (all) => all,
): Promise<void> {
  const gguf = await openGguf(from)
  const metadata = new Metadata(to, gguf.metadata)
  for (const [key, value] of Object.entries(change))
    if (value === undefined) metadata.delete(key)
    else metadata.set(key, value)
  const all: CopiedTensor[] = []
  for (const { name, shape, type, ...rest } of gguf.tensors)
    all.push({ name, shape, type, data: await gguf.read({ name, shape, type, ...rest }) })
  const copied = tensors(all)
  const writer = await createGguf(to, { metadata, tensors: copied })
  for (const { name, data } of copied) await writer.write(name, data)
  await writer.finish()
  await gguf.close()
}

export const stringValue = (value: string): GgufValue => ({ type: 'string', value })
export const uint32Value = (value: number): GgufValue => ({ type: 'uint32', value })

/** A copy of a llama with its first blocks only. */
export const firstBlocks = (from: string, to: string, count: number): Promise<void> =>
  withMetadata(from, to, { 'llama.block_count': uint32Value(count) }, (all) =>
    all.filter(({ name }) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? 0) < count),
  )
