/** What is wrong with a choice of types. */
import { UsageError } from '../errors.js'
import { type Gguf, ggmlTypes, quote } from '../gguf/index.js'
import { roundsToBlocks, rulesOf, type TypeSettings } from './options.js'
import type { Conversion } from './size.js'

/** Embeddings and output get a type that was asked for, whether it fits or not. @throws UsageError */
export function checkRows(gguf: Gguf, planned: readonly Conversion[]): void {
  for (const { name, type, source } of planned) {
    const [row] = source.shape
    const { name: to = '', blockSize = 1 } = ggmlTypes.get(type) ?? {}
    if (row % blockSize !== 0)
      throw new UsageError(
        `${quote(name)} of ${gguf.path} has rows of ${row}, which ${to} cannot cut into blocks of ${blockSize}; choose another type for it`,
      )
  }
}

export const isRounded = ({ type, source }: Conversion): boolean =>
  type !== source.type && (ggmlTypes.get(type)?.blockSize ?? 1) > 1

/** Warnings of `--tensor-type` that change nothing. */
export function unusedRules(planned: readonly Conversion[], type: string, settings: TypeSettings): string[] {
  const rules = rulesOf(settings)
  if (rules.length > 0 && !roundsToBlocks(type)) return [`--tensor-type has no effect with ${type}`]
  const isOf = (tensor: Conversion, type: string): boolean =>
    isRounded(tensor) || ggmlTypes.get(tensor.type)?.name === type.toUpperCase()
  return rules
    .filter(({ pattern, type }) => !planned.some((t) => isOf(t, type) && new RegExp(pattern).test(t.name)))
    .map((rule) => `--tensor-type ${rule.pattern}=${rule.type} matches no tensor that is quantized`)
}
