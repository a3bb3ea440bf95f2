/** Parsers of option values that several commands share. */
import { InvalidArgumentError } from 'commander'
import { fileTypeNamed } from '../gguf/file-types.js'
import { mostThreads } from '../threads.js'

/** Collects the values of a repeated option. */
export const oneMore = (text: string, before: readonly string[] = []): string[] => [...before, text]

/** A whole number of at least 1. */
export const positiveInteger = (text: string): number => integerFrom(1, text)

function integerFrom(least: number, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value))
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`)
  return value
}

/** A number of threads, at least 1. */
export function threadCount(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > mostThreads)
    throw new InvalidArgumentError(`It must be a whole number of threads from 1 to ${mostThreads}.`)
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

/** A whole number of at least 0. */
export const wholeNumber = (text: string): number => integerFrom(0, text)

/** `0,4096`: whole numbers of at least 0. */
export function lengths(text: string): number[] {
  return text.split(',').map((part) => {
    const value = wholeNumber(part.trim())
    if (value > 2 ** 24) throw new InvalidArgumentError('It must be at most 16777216.')
    return value
  })
}

/** KV-cache types that llama.cpp's attention supports. */
export const knownKvTypes = ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'iq4_nl', 'q5_0', 'q5_1']

/** The type of cached keys or values. */
export function cacheType(text: string): string {
  const type = text.toLowerCase()
  if (!knownKvTypes.includes(type))
    throw new InvalidArgumentError(`"${text}" is not one of ${knownKvTypes.join(', ')}.`)
  return type
}

/** `q8_0` for both, or `q8_0/f16` for keys / values. */
export function kvType(text: string): string {
  const [keys, values = keys, ...more] = text.split('/')
  if (more.length > 0) throw new InvalidArgumentError('It must be a type, or two as in q8_0/f16.')
  return cachePair(cacheType(keys), cacheType(values)) as string
}

/** Combines `--cache-type-k` and `--cache-type-v`; undefined if neither is given. */
export function cachePair(keys: string | undefined, values: string | undefined): string | undefined {
  if (keys === undefined && values === undefined) return undefined
  const [k, v] = [keys ?? 'f16', values ?? 'f16']
  return k === v ? k : `${k}/${v}`
}

/** `q8_0,q4_0` */
export const kvTypes = (text: string): string[] => text.split(',').map(kvType)

/** A whole number; -1 and `all` mean all. */
export function gpuLayers(text: string): number {
  if (text === 'all' || text === '-1') return -1
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 0, or all.')
  return Number(text)
}

/** `8GB`, `512 MB`, `8GiB`, `1.5TB` or plain bytes; units without an `i` are decimal. */
export function bytes(text: string): number {
  const [, amount, prefix, binary] = /^(\d+(?:\.\d+)?) ?([kMGT]?)(i?)B?$/i.exec(text.trim()) ?? []
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((prefix ?? '').toUpperCase())
  // Nobody means six bytes by 6.
  if (/^\d{1,3}$/.test(text.trim()) && Number(text) > 0)
    throw new InvalidArgumentError(`A number alone is bytes; give a unit, as in ${text.trim()}GB.`)
  const value = Math.floor(Number(amount) * (binary ? 1024 : 1000) ** power)
  if (!(value > 0) || !Number.isSafeInteger(value) || (binary && !prefix))
    throw new InvalidArgumentError('It must be a size such as 8GB, 8GiB or 512MB.')
  return value
}

/** The name of a file type: `q4_k_m`, or an alias of llama-quantize such as `Q4_K`. */
export const fileType = (text: string): string => fileTypeNamed(text) ?? text.toUpperCase()

/** A list of file types such as `Q4_0,q8_0`; `none` is the empty list. */
export function typeList(text: string): string[] {
  if (text.toLowerCase() === 'none') return []
  return text
    .split(',')
    .map((part) => fileType(part.trim()))
    .filter((part) => part !== '')
}

/** `90s`, `10m`, `1.5h` or `1h30m` in seconds. */
export function seconds(text: string): number {
  const value = duration(text)
  if (!(value > 0)) throw new InvalidArgumentError('It must be a time such as 90s, 10m or 1h30m.')
  return value
}

/** A duration that may be 0. */
export function secondsFromZero(text: string): number {
  const value = duration(text)
  if (!(value >= 0)) throw new InvalidArgumentError('It must be 0 or a time such as 90s, 10m or 1h30m.')
  return value
}

/** NaN if the text is not a duration. */
function duration(text: string): number {
  // Some mean minutes by it, others seconds.
  if (/^\d+(?:\.\d+)?$/.test(text.trim()) && Number(text) > 0)
    throw new InvalidArgumentError(
      `A number alone could be seconds or minutes; give a unit, as in ${text.trim()}s or ${text.trim()}m.`,
    )
  const pattern = /^(?:(\d+(?:\.\d+)?)h)? ?(?:(\d+(?:\.\d+)?)m)? ?(?:(\d+(?:\.\d+)?)s?)?$/i
  const found = text.trim() === '' ? null : pattern.exec(text.trim())
  if (!found) return Number.NaN
  const [, hours = 0, minutes = 0, rest = 0] = found
  const value = 3600 * Number(hours) + 60 * Number(minutes) + Number(rest)
  return Number.isSafeInteger(Math.floor(value)) ? value : Number.NaN
}

/** `--target-bits` for `targetBits`. */
export const flagOfKey = (key: string): string =>
  `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
