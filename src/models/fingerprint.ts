/** Identifies a model file by its contents without reading all of it. */
import { createHash } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import type { Gguf } from '../gguf/index.js'

const pieceBytes = 4096

/**
 * SHA-256 over the size, the first MiB (or the whole header, if that is longer, up to 16 MiB), 64 pieces of 4 KiB spread over
 * every file of the model, and a piece from the middle of every tensor, so that models that differ in a few tensors are
 * distinguished.
 */
export async function fingerprint(gguf: Gguf): Promise<string> {
  const hash = createHash('sha256')
  for (const [i, path] of gguf.files.entries()) {
    const { size } = await stat(path)
    hash.update(`${size};`)
    const handle = await open(path, 'r')
    try {
      const head = Math.min(size, Math.min(16 << 20, Math.max(1 << 20, i === 0 ? gguf.dataOffset : 0)))
      hash.update(await piece(handle, 0, head))
      for (let k = 0; k < 64; k++) hash.update(await piece(handle, Math.floor((size * k) / 64), pieceBytes))
    } finally {
      await handle.close()
    }
  }
  for (const tensor of gguf.tensors) {
    const length = Math.min(pieceBytes, tensor.bytes)
    hash.update(await gguf.read(tensor, Math.floor((tensor.bytes - length) / 2), length))
  }
  return hash.digest('hex')
}

async function piece(
  handle: Awaited<ReturnType<typeof open>>,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}
