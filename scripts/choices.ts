/**
 * Makes a small set of questions from held-out text: a passage, and which of four passages continues it. The wrong ones are
 * continuations of other passages of the same text, of about the same length, so that only their meaning distinguishes them.
 *
 *   npx tsx scripts/choices.ts [TEXT.txt] [OUTPUT.jsonl] [questions]
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../src/random.js'

const models = join(import.meta.dirname, '../models')
const [
  text = join(models, 'quench-5m.test.txt'),
  output = join(models, 'quench-5m.choices.jsonl'),
  wanted = '160',
] = process.argv.slice(2)
const contextWords = 40
const choiceWords = 10

const words = readFileSync(text, 'utf8').split(/\s+/).filter(Boolean)
const random = new Random(1)
const length = contextWords + choiceWords
const places = random.shuffle(Array.from({ length: Math.floor(words.length / length) }, (_, i) => i * length))
const questions = Math.min(Number(wanted), places.length)
const passage = (start: number, count: number): string => words.slice(start, start + count).join(' ')
const continuation = (place: number): string => passage(place + contextWords, choiceWords)

const lines = places.slice(0, questions).map((place, i) => {
  const others = [1, 2, 3].map((step) => places[(i + step * 37) % places.length])
  const answer = random.int(4)
  const choices = others.map(continuation).toSpliced(answer, 0, continuation(place))
  return JSON.stringify({ context: passage(place, contextWords), choices, answer })
})
writeFileSync(output, `${lines.join('\n')}\n`)
console.log(`${questions} questions in ${output}`)
