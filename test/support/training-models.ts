/** Tiny models, and a text to train them on, for tests of training itself. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeTinyGguf } from './tiny-gguf.js'
import { writeTinyVariant } from './tiny-models.js'
import { wordText } from './word-text.js'

/** Writes `text.txt`, `llama.gguf`, `deep.gguf` and `gemma4.gguf`, whose blocks read what passes others by. */
export async function writeTrainingModels(folder: string): Promise<void> {
  await writeFile(join(folder, 'text.txt'), wordText(4000))
  await writeTinyGguf(join(folder, 'llama.gguf'), { layers: 2, width: 64, heads: 2, feedForward: 96 })
  await writeTinyGguf(join(folder, 'deep.gguf'), { layers: 6, width: 64, heads: 2, feedForward: 64 })
  await writeTinyVariant(join(folder, 'gemma4.gguf'), {
    architecture: 'gemma4',
    layers: 4,
    headWidth: 32,
    gemma4: { slides: [true, false, true, false], headWidthSliding: 16, perLayer: 32, shared: 2 },
  })
}
