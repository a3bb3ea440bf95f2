/** Differences between two GGUF files: tensors by their bytes, metadata by type and value. */
import { type Gguf, type GgufValue, openGguf } from '../../src/gguf/index.js'

/** Each difference in a line; none if the files say the same. The order of keys and tensors does not count. */
export async function compareGguf(ours: string, theirs: string): Promise<string[]> {
  const [a, b] = await Promise.all([openGguf(ours), openGguf(theirs)])
  try {
    return [...compareMetadata(a, b), ...(await compareTensors(a, b))]
  } finally {
    await Promise.all([a.close(), b.close()])
  }
}

function compareMetadata(a: Gguf, b: Gguf): string[] {
  const keys = new Set([...a.metadata, ...b.metadata].map(([key]) => key))
  return [...keys].flatMap((key) => {
    const [ours, theirs] = [a.metadata.get(key), b.metadata.get(key)].map(shown)
    return ours === theirs ? [] : [`${key}: ${clipped(ours)} | ${clipped(theirs)}${where(a, b, key)}`]
  })
}

const shown = (value: GgufValue | undefined): string => {
  if (value === undefined) return 'none'
  const plain = (each: unknown): unknown => (typeof each === 'bigint' ? String(each) : each)
  const content = ArrayBuffer.isView(value.value) ? Array.from(value.value as Uint8Array) : value.value
  const type = value.type === 'array' ? `${value.itemType}[]` : value.type
  const float = value.type === 'float32' ? Math.fround(value.value) : content
  return `${type} ${JSON.stringify(float, (_, each) => plain(each))}`
}

const clipped = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text)

/** The first item that differs. */
function where(a: Gguf, b: Gguf, key: string): string {
  const [ours, theirs] = [a.metadata.get(key)?.value, b.metadata.get(key)?.value]
  if (!Array.isArray(ours) && !ArrayBuffer.isView(ours)) return ''
  if (!Array.isArray(theirs) && !ArrayBuffer.isView(theirs)) return ''
  const [left, right] = [Array.from(ours as unknown[]), Array.from(theirs as unknown[])]
  const at = left.findIndex((each, i) => each !== right[i])
  return ` (${left.length} and ${right.length}; at ${at}: ${String(left[at])} | ${String(right[at])})`
}

async function compareTensors(a: Gguf, b: Gguf): Promise<string[]> {
  const names = new Set([...a.tensors, ...b.tensors].map(({ name }) => name))
  const found: string[] = []
  for (const name of names) {
    const [ours, theirs] = [a, b].map(({ tensors }) => tensors.find((each) => each.name === name))
    if (!ours || !theirs) found.push(`${name}: only in ${ours ? 'ours' : 'theirs'}`)
    else if (ours.type !== theirs.type || ours.shape.join() !== theirs.shape.join())
      found.push(`${name}: ${ours.type} ${ours.shape} | ${theirs.type} ${theirs.shape}`)
    else if (!Buffer.from(await a.read(ours)).equals(Buffer.from(await b.read(theirs))))
      found.push(`${name}: other bytes`)
  }
  return found
}
