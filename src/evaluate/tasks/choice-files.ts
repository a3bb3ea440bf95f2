/**
 * Multiple-choice questions in the three common file formats:
 *
 * - JSONL of the common evaluation harnesses: `context` (or `query`, `question`, `ctx`, `prompt`), `choices` (or `endings`; a
 *   list, or `{text, label}` as in ARC), and the correct one as `answer` (or `gold`, `label`, `answerKey`): its index, its
 *   label or letter, or its text.
 * - HellaSwag as llama-perplexity reads it: six lines per question: context, index of the correct ending, four endings.
 * - llama-perplexity's binary format for multiple choice: u32 count, that many u32 positions, then for each question its text
 *   and two lists (single correct answer, several correct answers) of answers and of labels 0 or 1; texts and lists begin with
 *   their u32 length. Like llama-perplexity, only the first list is used.
 */
import { isUtf8 } from 'node:buffer'
import { decodeText, hasByteOrderMark, type JsonLine, jsonLines } from '../../data/text-file.js'
import { FileError } from '../../errors.js'
import { readInput } from '../../input-file.js'

export interface ChoiceTask {
  readonly context: string
  readonly choices: readonly string[]
  /** Indices of the correct choices; usually one. */
  readonly right: readonly number[]
}

export type ChoiceForm = 'jsonl' | 'hellaswag' | 'multiple-choice'

export interface ChoiceFile {
  readonly path: string
  readonly form: ChoiceForm
  readonly tasks: readonly ChoiceTask[]
}

const mostBytes = 500_000_000
/** The limit of llama-perplexity. */
const mostChoices = 100
/** Limit of characters of a context with a choice; no model takes more. */
const mostCharacters = 1_000_000

/** Reads questions. @throws FileError for a file in none of the three formats, or an invalid question */
export async function readChoices(path: string): Promise<ChoiceFile> {
  const bytes = await readInput(path, mostBytes)
  const { form, tasks } = parse(path, bytes)
  if (tasks.length === 0) throw new FileError(path, 'holds no questions')
  const long = tasks.findIndex(({ context, choices }) =>
    choices.some((choice) => context.length + choice.length > mostCharacters),
  )
  if (long >= 0)
    throw new FileError(path, `question ${long + 1} has more than ${mostCharacters} characters; shorten it`)
  return { path, form, tasks }
}

/** Text has no zero bytes, unless it is UTF-16 with a byte order mark; the counts at the start of the binary format do. */
function parse(path: string, bytes: Buffer): Omit<ChoiceFile, 'path'> {
  if (bytes.subarray(0, 8).includes(0) && !hasByteOrderMark(bytes))
    return { form: 'multiple-choice', tasks: new BinaryChoices(path, bytes).read() }
  const text = decodeText(path, bytes)
  if (!text.slice(0, 4096).trimStart().startsWith('{'))
    return { form: 'hellaswag', tasks: parseHellaswag(path, text) }
  return { form: 'jsonl', tasks: Array.from(jsonLines(path, text), (line) => parseJson(path, line)) }
}

function parseJson(path: string, { number, value }: JsonLine): ChoiceTask {
  const wrong = (problem: string) => new FileError(path, `line ${number}: ${problem}`)
  if (typeof value !== 'object' || value === null) throw wrong('this is not a JSON object')
  const task = value as Record<string, unknown>
  const pick = (...names: string[]): unknown =>
    names.map((name) => task[name]).find((value) => value !== undefined)
  const context = pick('context', 'query', 'question', 'ctx', 'prompt')
  if (typeof context !== 'string' || context === '')
    throw wrong('it has no "context" (or "query", "question")')
  const { texts, labels } = listOf(pick('choices', 'endings'))
  if (!texts || texts.length < 2 || texts.length > mostChoices)
    throw wrong(`it has no "choices" (or "endings"): a list of 2 to ${mostChoices} texts`)
  if (texts.includes('')) throw wrong('one of its choices is empty')
  const right = indexOf(pick('answer', 'gold', 'label', 'answerKey'), texts, labels)
  if (right === undefined)
    throw wrong('its "answer" (or "gold", "label", "answerKey") is none of its choices')
  return { context, choices: texts, right: [right] }
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((text) => typeof text === 'string')

function listOf(value: unknown): { texts?: string[]; labels?: string[] } {
  if (isTexts(value)) return { texts: value }
  if (typeof value !== 'object' || value === null) return {}
  const { text, label } = value as { text?: unknown; label?: unknown }
  if (!isTexts(text)) return {}
  return { texts: text, ...(isTexts(label) && { labels: label }) }
}

/** The index of a choice given by index, label, letter or text; HellaSwag's `label` is an index as text. */
function indexOf(
  answer: unknown,
  texts: readonly string[],
  labels: readonly string[] | undefined,
): number | undefined {
  const within = (i: number): number | undefined =>
    Number.isInteger(i) && i >= 0 && i < texts.length ? i : undefined
  if (Array.isArray(answer) && answer.length === 1) return indexOf(answer[0], texts, labels)
  if (typeof answer === 'number') return within(answer)
  if (typeof answer !== 'string') return undefined
  for (const list of [labels ?? [], texts]) if (list.includes(answer)) return list.indexOf(answer)
  if (/^\d+$/.test(answer)) return within(Number(answer))
  return /^[A-Z]$/.test(answer) ? within(answer.charCodeAt(0) - 65) : undefined
}

function parseHellaswag(path: string, text: string): ChoiceTask[] {
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  if (lines.length % 6 !== 0)
    throw new FileError(
      path,
      `it has ${lines.length} lines; questions are JSON lines, or six lines each: context, index of the right ending, four endings`,
    )
  return Array.from({ length: lines.length / 6 }, (_, i) => {
    const [context, index, ...choices] = lines.slice(6 * i, 6 * i + 6)
    if (!/^\s*[0-3]\s*$/.test(index))
      throw new FileError(path, `line ${6 * i + 2} is not the index of an ending, 0 to 3`)
    return { context, choices, right: [Number(index)] }
  })
}

class BinaryChoices {
  private at = 0

  constructor(
    private readonly path: string,
    private readonly bytes: Buffer,
  ) {}

  read(): ChoiceTask[] {
    const count = this.length(4 + 20) // a position, and the lengths of a question with empty texts
    this.at += 4 * count
    return Array.from({ length: count }, () => this.task())
  }

  private task(): ChoiceTask {
    const context = this.text()
    const { texts, labels } = this.answers()
    this.answers()
    const right = [...labels.keys()].filter((i) => labels[i] === 1)
    if (context === '' || texts.length < 1 || texts.includes('')) throw this.damaged()
    return { context, choices: texts, right }
  }

  private answers(): { texts: string[]; labels: number[] } {
    const count = this.length(4)
    if (count > mostChoices) throw this.damaged()
    const texts = Array.from({ length: count }, () => this.text())
    const labels = Array.from({ length: count }, () => this.u32())
    return { texts, labels }
  }

  private text(): string {
    const length = this.length(1)
    const text = this.bytes.subarray(this.at, this.at + length)
    if (!isUtf8(text))
      throw new FileError(
        this.path,
        `the text of a question at byte ${this.at} is not UTF-8: save the file again`,
      )
    this.at += length
    return text.toString()
  }

  /** A count of items that take at least `size` bytes each. */
  private length(size: number): number {
    const count = this.u32()
    if (count * size > this.bytes.length - this.at) throw this.damaged()
    return count
  }

  private u32(): number {
    if (this.at + 4 > this.bytes.length) throw this.damaged()
    this.at += 4
    return this.bytes.readUInt32LE(this.at - 4)
  }

  private damaged(): FileError {
    return new FileError(this.path, `its questions are damaged or cut off at byte ${this.at}`)
  }
}
