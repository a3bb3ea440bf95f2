/**
 * What a model's name tells: `Org/Llama-3.1-8B-Instruct` is of Org, is based on Llama-3.1, has 8 billion parameters, and is tuned to follow instructions.
 * The rules are those of llama.cpp's converter (metadata.py), so that files have the same names.
 */

export interface ModelId {
  readonly name: string
  readonly organization?: string
  readonly basename?: string
  readonly finetune?: string
  readonly version?: string
  readonly sizeLabel?: string
}

type Kind = 'basename' | 'size' | 'finetune' | 'version' | 'type'

const sizes = /^((A|\d+x)?\d+([._]\d+)?[KMBT]\d?|small|mini|medium|large|x?xl)$/i

/** @param parameters of the model, to tell its size from the length of a context */
export function parseModelId(id: string, parameters: number): ModelId {
  if (id.includes(' ')) return { name: id }
  const slash = id.indexOf('/')
  const name = id.slice(slash + 1)
  const organization = slash > 0 && id[0] !== '.' ? id.slice(0, slash) : undefined
  const parts = name.split('-').filter((part) => part !== '')
  const kinds = parts.map(() => new Set<Kind>())
  for (const [i, part] of parts.entries()) classify(parts, kinds[i], i, part, parameters)
  const numbered = parts.some((part, i) => kinds[i].has('size') && /\d/.test(part))
  if (numbered) for (const [i, part] of parts.entries()) if (/^\p{L}+$/u.test(part)) kinds[i].delete('size')
  let start = true
  for (const [i, part] of parts.entries()) {
    if (start && ((kinds[i].size === 0 && /^\p{L}/u.test(part)) || kinds[i].has('version')))
      kinds[i].add('basename')
    else {
      start = false
      if (kinds[i].size === 0) kinds[i].add('finetune')
    }
  }
  for (let i = parts.length - 1; i >= 0 && kinds[i].has('basename') && kinds[i].size > 1; i--)
    kinds[i].delete('basename')
  const of = (kind: Kind): string[] => parts.filter((_, i) => kinds[i].has(kind))
  const all = (kind: Kind): string | undefined => of(kind).join('-') || undefined
  const sizeLabel = [...new Set(of('size'))].join('-') || undefined
  const finetune = all('finetune')
  const version =
    parts.filter((_, i) => kinds[i].has('version') && !kinds[i].has('basename')).join('-') || undefined
  const basename = sizeLabel || finetune || version ? all('basename') : undefined
  return {
    name,
    ...(organization && { organization }),
    ...(basename && { basename }),
    ...(finetune && { finetune }),
    ...(version && { version }),
    ...(sizeLabel && { sizeLabel }),
  }
}

const isVersion = (part: string): boolean => /^(v|iter)?\d+([.]\d+)*$/i.test(part)

function classify(parts: string[], kinds: Set<Kind>, i: number, part: string, parameters: number): void {
  if (isVersion(part)) kinds.add('version')
  else if (/^(i?q\d(_\w)*|b?fp?(16|32))$/i.test(part)) {
    kinds.add('type')
    parts[i] = part.toUpperCase()
  } else if (i > 0 && sizes.test(part)) parts[i] = classifySize(kinds, part, parameters)
  else if (i > 0 && /^(chat|instruct|vision|lora)$/i.test(part)) kinds.add('finetune')
}

/** A size such as 7B, or a length of context such as 128k. Returns it in the usual spelling. */
function classifySize(kinds: Set<Kind>, given: string, parameters: number): string {
  let part = given.replaceAll('_', '.')
  if (/\d$/.test(part)) part = `${part.slice(0, -2)}.${part.at(-1)}${part.at(-2)}` // 7b1 is 7.1b
  if (/\d[kmbt]$/.test(part)) part = part.slice(0, -1) + part.slice(-1).toUpperCase()
  const number = part.slice(0, -1)
  const label = /^\d+(\.\d+)?$/.test(number)
    ? Number(number) * 1000 ** ' KMBT'.indexOf(part.slice(-1))
    : undefined
  if (
    parameters > 0 &&
    label !== undefined &&
    Math.abs(label - parameters) > Math.floor((7 * parameters) / 8)
  ) {
    kinds.add('finetune')
    return part.slice(0, -1) + part.slice(-1).toLowerCase()
  }
  kinds.add('size')
  return part
}

/** `llama-3.1-instruct` as a title: `Llama 3.1 Instruct`. */
export const titleOf = (id: string): string =>
  id
    .trim()
    .replaceAll('-', ' ')
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => (isLower(word) && !/^(v\d+(\.\d+)*|\d.*)$/.test(word) ? titleCase(word) : word))
    .join(' ')

const isLower = (word: string): boolean => /\p{Ll}/u.test(word) && !/[\p{Lu}\p{Lt}]/u.test(word)
/** A capital after everything that is no letter. */
const titleCase = (word: string): string =>
  word.replace(/(?<!\p{L})\p{Ll}/gu, (letter) => letter.toUpperCase())

/** Parameters in two digits: 135M, 8.0B. */
export function sizeLabel(parameters: number): string {
  const [scale, unit] =
    parameters > 1e12
      ? [1e-12, 'T']
      : parameters > 1e9
        ? [1e-9, 'B']
        : parameters > 1e6
          ? [1e-6, 'M']
          : [1e-3, 'K']
  const scaled = parameters * scale
  const digits = String(roundHalfEven(scaled)).replace(/^0+/, '').length
  return `${scaled.toFixed(Math.max(2 - digits, 0))}${unit}`
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  if (value - floor !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}
