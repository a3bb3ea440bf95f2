/**
 * Files of `--tensor-type-file`: `REGEX=TYPE`, separated by blanks or newlines, as llama-quantize reads them; or a GGUF file, whose
 * matrices give theirs.
 */
import { FileError } from '../errors.js'
import { isRounded } from '../formats/tensors.js'
import { ggmlTypes, openGguf } from '../gguf/index.js'
import { openInput } from '../input-file.js'
import type { TensorTypeRule } from '../llama/index.js'
import type { TensorTypeChoice } from './options.js'

/** Far more than a rule for every tensor of any model. */
const mostBytes = 1 << 20

/** `attn_v=q8_0`; undefined for what is none. */
export function parseTensorTypeRule(text: string): TensorTypeRule | undefined {
  const at = text.lastIndexOf('=')
  if (at < 1 || at === text.length - 1) return undefined
  return { pattern: text.slice(0, at), type: text.slice(at + 1).toUpperCase() }
}

/** @throws FileError for a file that is too large, has no rules, or has something else in it */
export async function readTensorTypes(path: string): Promise<TensorTypeChoice[]> {
  const { handle, size } = await openInput(path)
  try {
    const magic = Buffer.alloc(4)
    await handle.read(magic, 0, magic.length, 0)
    if (magic.toString('latin1') === 'GGUF') return await typesOfModel(path)
    if (size > mostBytes)
      throw new FileError(path, `it has ${size} bytes, and a list of tensor types has up to ${mostBytes}`)
    const bytes = Buffer.alloc(size)
    const { bytesRead } = await handle.read(bytes, 0, size, 0)
    const words = bytes.toString('utf8', 0, bytesRead).split(/\s+/).filter(Boolean)
    if (words.length === 0)
      throw new FileError(path, 'it is empty; write expressions and types into it, such as attn_v=q8_0')
    return words.map((word) => {
      const rule = parseTensorTypeRule(word)
      if (rule) return { ...rule, file: path }
      throw new FileError(path, `"${word}" is not an expression and a type, as in attn_v=q8_0`)
    })
  } finally {
    await handle.close()
  }
}

/** A rule for each matrix by its whole name. */
async function typesOfModel(path: string): Promise<TensorTypeChoice[]> {
  const gguf = await openGguf(path)
  await gguf.close()
  return gguf.tensors.filter(isRounded).map(({ name, type }) => ({
    pattern: `^${name.replace(/[^\w]/g, '\\$&')}$`,
    type: ggmlTypes.get(type)?.name ?? String(type),
    file: path,
  }))
}
