/** An object of a JSON file, with accessors that name file and key when a value is missing or is something else. */
import { FileError } from '../errors.js'
import { quote } from '../gguf/index.js'

const largest = 2 ** 31 - 1

export class Fields {
  /** @param within where in the file, e.g. `text_config.` */
  constructor(
    readonly path: string,
    readonly values: Readonly<Record<string, unknown>>,
    readonly within = '',
  ) {}

  /** The value as it is; null counts as absent, as in Python's configurations. */
  value(key: string): unknown {
    return Object.hasOwn(this.values, key) ? (this.values[key] ?? undefined) : undefined
  }

  has(key: string): boolean {
    return this.value(key) !== undefined
  }

  number(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback
    if (typeof value === 'number' && Number.isFinite(value)) return value
    throw this.wrong(key, 'a number')
  }

  /** A whole number from 1 (or `least`) to 2^31 - 1 (or `most`). */
  count(key: string, fallback?: number, least = 1, most = largest): number {
    const value = this.value(key) ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
    throw this.wrong(key, `a whole number from ${least} to ${most}`)
  }

  string(key: string, fallback?: string): string {
    const value = this.value(key) ?? fallback
    if (typeof value === 'string') return value
    throw this.wrong(key, 'a text')
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.value(key) ?? fallback
    if (typeof value === 'boolean') return value
    throw this.wrong(key, 'true or false')
  }

  object(key: string): Fields | undefined {
    const value = this.value(key)
    if (value === undefined) return undefined
    if (typeof value !== 'object' || Array.isArray(value)) throw this.wrong(key, 'an object')
    return new Fields(this.path, value as Record<string, unknown>, `${this.within}${key}.`)
  }

  list(key: string): readonly unknown[] | undefined {
    const value = this.value(key)
    if (value !== undefined && !Array.isArray(value)) throw this.wrong(key, 'a list')
    return value
  }

  /** The objects of a list. */
  objects(key: string): readonly Fields[] {
    return (this.list(key) ?? []).map((value, i) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw this.wrong(`${key}[${i}]`, 'an object')
      return new Fields(this.path, value as Record<string, unknown>, `${this.within}${key}[${i}].`)
    })
  }

  strings(key: string): readonly string[] | undefined {
    const list = this.list(key)
    if (list?.some((value) => typeof value !== 'string')) throw this.wrong(key, 'a list of texts')
    return list as readonly string[] | undefined
  }

  numbers(key: string): readonly number[] | undefined {
    const list = this.list(key)
    if (list?.some((value) => typeof value !== 'number')) throw this.wrong(key, 'a list of numbers')
    return list as readonly number[] | undefined
  }

  /** These values over those of another object, e.g. what a class has by default. */
  over(others: Readonly<Record<string, unknown>>): Fields {
    const own = Object.entries(this.values).filter(([, value]) => value !== null)
    return new Fields(this.path, { ...others, ...Object.fromEntries(own) }, this.within)
  }

  wrong(key: string, wanted: string): FileError {
    const state = this.has(key) ? `should be ${wanted}` : `is missing; it should be ${wanted}`
    return new FileError(this.path, `${quote(`${this.within}${key}`)} ${state}`)
  }
}
