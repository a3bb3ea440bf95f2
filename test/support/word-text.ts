/** Text of a few common words in random order, the same every time. */
import { Random } from '../../src/random.js'

const words = 'the and of a sea ship whale state union year on in her that'.split(' ')

export function wordText(count: number): string {
  const random = new Random(3)
  return Array.from({ length: count }, () => words[random.int(words.length)]).join(' ')
}
