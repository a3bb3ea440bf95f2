/** Option values that several commands take. */
import { InvalidArgumentError } from 'commander'

/** A whole number from 1 on. */
export const positiveInteger = (text: string): number => integerFrom(1, text)

function integerFrom(least: number, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value))
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`)
  return value
}

/** Whole numbers from 1 on, up to what libllama takes. */
export function threadCount(text: string): number {
  const value = positiveInteger(text)
  if (value > 512) throw new InvalidArgumentError('It must be at most 512.')
  return value
}

/** A number above zero. */
export function positiveNumber(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0)
    throw new InvalidArgumentError('It must be a number above 0.')
  return value
}

/** A number from 0 to 1. */
export function share(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError('It must be a number from 0 to 1.')
  return value
}

/** A whole number from 0 on. */
export const wholeNumber = (text: string): number => integerFrom(0, text)

/** `0,4096`: whole numbers from 0 on. */
export function lengths(text: string): number[] {
  return text.split(',').map((part) => {
    const value = wholeNumber(part.trim())
    if (value > 2 ** 24) throw new InvalidArgumentError('It must be at most 16777216.')
    return value
  })
}

/** Types of a KV cache that llama.cpp has attention for. */
const knownKvTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1']

export function kvType(text: string): string {
  const type = text.toLowerCase()
  if (!knownKvTypes.includes(type))
    throw new InvalidArgumentError(`"${text}" is not one of ${knownKvTypes.join(', ')}.`)
  return type
}

/** `q8_0,q4_0` */
export const kvTypes = (text: string): string[] => text.split(',').map(kvType)

/** A whole number; -1 or `all` is all. */
export function gpuLayers(text: string): number {
  if (text === 'all' || text === '-1') return -1
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 0, or all.')
  return Number(text)
}

/** `8GB`, `512 MB`, `8GiB`, `1.5TB` or plain bytes; without an `i` units are decimal, as in shops. */
export function bytes(text: string): number {
  const [, amount, prefix, binary] = /^(\d+(?:\.\d+)?) ?([kMGT]?)(i?)B?$/i.exec(text.trim()) ?? []
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((prefix ?? '').toUpperCase())
  const value = Math.floor(Number(amount) * (binary ? 1024 : 1000) ** power)
  if (!(value > 0) || (binary && !prefix))
    throw new InvalidArgumentError('It must be a size such as 8GB, 8GiB or 512MB.')
  return value
}

/** `Q4_0,q8_0` in capitals; `none` is no type. */
export function typeList(text: string): string[] {
  if (text.toLowerCase() === 'none') return []
  return text
    .split(',')
    .map((part) => part.trim().toUpperCase())
    .filter((part) => part !== '')
}

/** `90`, `90s`, `10m`, `1.5h` or `1h30m` in seconds. */
export function seconds(text: string): number {
  const pattern = /^(?:(\d+(?:\.\d+)?)h)? ?(?:(\d+(?:\.\d+)?)m)? ?(?:(\d+(?:\.\d+)?)s?)?$/i
  const [, hours = 0, minutes = 0, rest = 0] = pattern.exec(text.trim()) ?? []
  const value = 3600 * Number(hours) + 60 * Number(minutes) + Number(rest)
  if (!(value > 0)) throw new InvalidArgumentError('It must be a time such as 90s, 10m or 1h30m.')
  return value
}
