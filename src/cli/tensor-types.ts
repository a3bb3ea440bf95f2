/** Options of tensors' types and of metadata, under llama-quantize's names: `quantize` and `train` share the first. */
import { InvalidArgumentError, Option } from 'commander'
import type { KvOverride } from '../quantize/options.js'
import { parseTensorTypeRule, readTensorTypes } from '../quantize/tensor-type-file.js'
import { valued } from './shared.js'

/** A rule, or a file of rules. */
export type RuleOrFile = { readonly pattern: string; readonly type: string } | { readonly file: string }

/** `q6_k`: the name of a tensor type, checked by who uses it. */
export const tensorType = (text: string): string => text.toUpperCase()

/** `attn_v=q8_0`, one more of them. */
export function tensorTypeRule(text: string, before: readonly RuleOrFile[] = []): RuleOrFile[] {
  const rule = parseTensorTypeRule(text)
  if (!rule) throw new InvalidArgumentError('It must be an expression and a type, as in attn_v=q8_0.')
  return [...before, rule]
}

export function tensorTypeOptions(): Option[] {
  const file = new Option(
    '--tensor-type-file <file>',
    'more of --tensor-type, separated by blanks or newlines',
  ).argParser((path: string, before: readonly RuleOrFile[] = []) => [...before, { file: path }])
  // With --tensor-type in one list, since their order counts.
  file.attributeName = () => 'tensorType'
  return [
    new Option('--pure', 'one type for all matrices instead of the mixture of the file type'),
    new Option(
      '--tensor-type <regex=type>',
      'type of the tensors in whose names this is found, e.g. attn_v=q8_0; may be repeated, the first that is found decides',
    ).argParser(tensorTypeRule),
    file,
    valued('--output-tensor-type <type>', 'tensor type of output.weight, e.g. Q8_0', tensorType),
    valued('--token-embedding-type <type>', 'tensor type of the token embeddings, e.g. Q8_0', tensorType),
    new Option('--leave-output-tensor', 'leave output.weight as it is'),
  ]
}

/** The rules in their order. @throws FileError for a file that holds something else */
export async function rulesOf(
  given: readonly RuleOrFile[] = [],
): Promise<{ pattern: string; type: string }[]> {
  const lists = given.map((one) => ('file' in one ? readTensorTypes(one.file) : Promise.resolve([one])))
  return (await Promise.all(lists)).flat()
}

/** `0,1,5` */
export function layerList(text: string): number[] {
  if (!/^\d{1,6}(,\d{1,6})*$/.test(text))
    throw new InvalidArgumentError('It must be numbers of layers, as in 3,4,5.')
  return text.split(',').map(Number)
}

/** `general.name=str:my model`, one more of them. */
export function kvOverride(text: string, before: readonly KvOverride[] = []): KvOverride[] {
  const [, key, type, value] = /^([^=]+)=(int|float|bool|str):(.*)$/s.exec(text) ?? []
  const override = key === undefined ? undefined : typed(key, type, value)
  if (!override)
    throw new InvalidArgumentError(
      'It must be a key, a type (int, float, bool or str) and a value, as in general.name=str:mine.',
    )
  return [...before, override]
}

function typed(key: string, type: string, value: string): KvOverride | undefined {
  if (type === 'str') return { key, type, value }
  if (type === 'bool')
    return /^(true|false)$/.test(value) ? { key, type, value: value === 'true' } : undefined
  const number = Number(value)
  if (value.trim() === '' || Number.isNaN(number)) return undefined
  return { key, type: type === 'int' ? 'int' : 'float', value: number }
}
