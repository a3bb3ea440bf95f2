/** Parsers of tensor-type rules and metadata overrides, in llama-quantize's syntax. */
import { InvalidArgumentError, Option } from 'commander'
import type { KvOverride, TensorTypeChoice } from '../quantize/options.js'
import { parseTensorTypeRule, readTensorTypes } from '../quantize/tensor-type-file.js'

/** A rule or a file of rules. */
export type RuleOrFile = { readonly pattern: string; readonly type: string } | { readonly file: string }

/** `q6_k`: the name of a tensor type; the caller checks that it exists. */
export const tensorType = (text: string): string => text.toUpperCase()

/** Collects rules such as `attn_v=q8_0`. */
export function tensorTypeRule(text: string, before: readonly RuleOrFile[] = []): RuleOrFile[] {
  const rule = parseTensorTypeRule(text)
  if (!rule) throw new InvalidArgumentError('It must be an expression and a type, as in attn_v=q8_0.')
  return [...before, rule]
}

/** Collects `--tensor-type-file` in the same list as `--tensor-type`, since their order matters. */
export function tensorTypeFile(): Option {
  const option = new Option(
    '--tensor-type-file <file>',
    'more of --tensor-type, separated by blanks or newlines; or a GGUF file, whose types are taken',
  ).argParser((path: string, before: readonly RuleOrFile[] = []) => [...before, { file: path }])
  option.attributeName = () => 'tensorType'
  return option
}

/** All rules in order. @throws FileError for a malformed file of rules */
export async function rulesOf(given: readonly RuleOrFile[] = []): Promise<TensorTypeChoice[]> {
  const lists = given.map((one) => ('file' in one ? readTensorTypes(one.file) : Promise.resolve([one])))
  return (await Promise.all(lists)).flat()
}

/** `0,1,5` */
export function layerList(text: string): number[] {
  if (!/^\d{1,6}(,\d{1,6})*$/.test(text))
    throw new InvalidArgumentError('It must be numbers of layers, as in 3,4,5.')
  return text.split(',').map(Number)
}

/** Collects overrides such as `general.name=str:my model`. */
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
