/** The file type that a misspelt one stands for. */
import { fileTypeNames } from '../gguf/file-types.js'
import { similarTo } from '../option-checks.js'

/** Undefined if none is near. */
export function meantType(text: string): string | undefined {
  // Of those that a short name may mean, people mean the middle one.
  const middle = fileTypeNames.filter((name) => name.endsWith('_M'))
  return similarTo(text, [...middle, ...fileTypeNames])
}
