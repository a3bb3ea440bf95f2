/** Lines of text that tokenizers find hard: many scripts, emoji, code, odd spaces, numbers, and mixtures of them. */
import { Random } from '../../src/random.js'

const fragments = [
  ...['The quick brown fox', "I'll say it's DON'T", 'antidisestablishmentarianism', 'naïve café façade'],
  ...[
    'Ελληνικά κείμενα',
    'Съешь ещё этих мягких французских булок',
    'שלום עולם',
    'مرحبا بالعالم',
    'नमस्ते दुनिया',
  ],
  ...[
    'ภาษาไทย',
    '日本語の文章です。',
    '我能吞下玻璃',
    '한국어 문장',
    'ქართული',
    'Հայերեն',
    'አማርኛ',
    'Tiếng Việt',
    'བོད་སྐད',
  ],
  ...['🚀', '👩‍👩‍👧‍👦', '🇩🇪🇯🇵', '😶‍🌫️ ok', '❤️', '½ ⅓ ²', '①②', '٣٤٥', '१२३', '１２３'],
  ...[
    'if (a != b) { return c[i++]; }',
    'def f(x):\n\treturn x ** 2',
    '<div class="a">&amp;</div>',
    'x->y::z',
    '#!/bin/sh',
  ],
  ...[
    'https://example.org/a?b=c&d=%20',
    'C:\\Users\\x',
    '`` ```js',
    '$x_{i}^2$',
    '{"key": [1, 2.5e-3, null]}',
  ],
  ...[
    '3',
    '33',
    '333',
    '3333',
    '1234567890',
    '3.14',
    '1,000,000',
    '0xDEADBEEF',
    '2024-02-30T12:00',
    'v1.2.3-rc1',
  ],
  ...['!!!', '?!...', '------', '======', '***', "''''", '""', '///', '~~', '…', '“quoted”', '«x»'],
  ...[
    '<tool_call>',
    'a\u00adb',
    'A',
    'z',
    'ß',
    'İ',
    'ǅ',
    'ﬁ',
    'Ω',
    'кот',
    'HTTPServer',
    'camelCaseWord',
    'SNAKE_CASE',
  ],
]
const spaces = [' ', ' ', ' ', '', '  ', '   ', '\t', ' \t ', '\n', '\n\n', ' \n', '\r\n', '\u00a0', '\u3000']

export function oddLines(count: number, seed = 11): string[] {
  const random = new Random(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)]
  const lines = fragments.slice(0, count)
  while (lines.length < count) {
    let line = ''
    const length = 1 + Math.floor(random.uniform() * 7)
    for (let i = 0; i < length; i++) {
      line += pick(fragments)
      if (i + 1 < length || random.uniform() < 0.1) line += pick(spaces)
    }
    lines.push(line)
  }
  return lines
}
