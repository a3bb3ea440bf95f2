/** Text on which candidates are measured. */
import { type Document, readDocuments } from '../data/texts.js'
import { joinWindows } from '../data/windows.js'
import { LlamaModel } from '../llama/index.js'
import { generalWindows, ofEachKind } from '../training-text/general-text.js'

/**
 * The user's text, or tokens of the text that ships with quench, as many of each kind as of the others.
 * @param model full-precision GGUF file
 * @param tokens of all kinds together, about
 * @param context tokens of a window
 */
export async function measuringText(
  model: string,
  data: readonly string[],
  tokens: number,
  context: number,
): Promise<Document[] | Int32Array> {
  if (data.length > 0) return readDocuments(data)
  const vocabulary = await LlamaModel.load(model, { vocabOnly: true })
  try {
    const kinds = await generalWindows('calibration', model, vocabulary, context)
    const each = Math.max(1, Math.round(tokens / context / kinds.length))
    return joinWindows(ofEachKind(kinds, each).flatMap(({ windows }) => windows))
  } finally {
    vocabulary.dispose()
  }
}
