/** The architectures that can be converted: those that train. A new one is a declaration and its name here. */
import type { Fields } from '../checkpoint/index.js'
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'
import type { Conversion } from './architecture.js'
import { gemma3, gemma4 } from './gemma.js'
import { llama, smollm3 } from './llama.js'
import { qwen2, qwen3 } from './qwen.js'

const conversions: readonly Conversion[] = [llama, smollm3, qwen2, qwen3, gemma3, gemma4]

/** The conversion of a checkpoint, by the class that its configuration names. @throws FileError */
export function conversionOf(config: Fields): { conversion: Conversion; className: string } {
  const classes = config.strings('architectures')
  const className = classes?.[0]
  if (className === undefined)
    throw config.wrong('architectures', 'a list with the name of the class of the model')
  const conversion = conversions.find((each) => each.classes.includes(className))
  if (conversion) return { conversion, className }
  const known = conversions.flatMap((each) => each.classes).join(', ')
  throw new FileError(config.path, `names the class ${quote(className)}; quench converts ${known}`)
}
