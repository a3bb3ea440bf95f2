/** Copies of a GGUF file with other metadata. */
import { createGguf, type GgufValue, Metadata, openGguf } from '../../src/gguf/index.js'

export async function withMetadata(
  from: string,
  to: string,
  change: Record<string, GgufValue>,
): Promise<void> {
  const gguf = await openGguf(from)
  const metadata = new Metadata(to, gguf.metadata)
  for (const [key, value] of Object.entries(change)) metadata.set(key, value)
  const writer = await createGguf(to, { metadata, tensors: gguf.tensors })
  for (const tensor of gguf.tensors) await writer.write(tensor.name, await gguf.read(tensor))
  await writer.finish()
  await gguf.close()
}

export const stringValue = (value: string): GgufValue => ({ type: 'string', value })
