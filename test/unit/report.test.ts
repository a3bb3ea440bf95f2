/** Reports: every picture with every mark, and nothing of a stranger's names becomes markup. */
import { parseHTML } from 'linkedom'
import { expect, test } from 'vitest'
import { visible } from '../../src/format.js'
import { modelCard } from '../../src/report/card.js'
import { escapeHtml, html } from '../../src/report/html.js'
import { reportPage } from '../../src/report/page.js'
import { scatter } from '../../src/report/scatter.js'
import { comparisonText } from '../../src/report/text.js'
import { comparison, expectedMarks, hostile } from '../support/comparison.js'

const page = reportPage(comparison)
const { document } = parseHTML(page)

test('every picture is there with the right number of marks', () => {
  const expected = expectedMarks(comparison)
  expect([...document.querySelectorAll('figure')].map(({ id }) => id)).toEqual(Object.keys(expected))
  for (const [figure, marks] of Object.entries(expected))
    for (const [kind, count] of Object.entries(marks)) {
      const found = document.querySelectorAll(`#${figure} svg .${kind} > *`)
      expect([figure, kind, found.length]).toEqual([figure, kind, count])
    }
  const front = document.querySelector('#plot-size .front path')?.getAttribute('d')
  expect(front?.split('L')).toHaveLength(comparison.files.filter(({ onFront }) => onFront).length)
})

test('what is not there has no picture', () => {
  const plain = { ...comparison, files: comparison.files.map(({ speed: _, training: __, ...file }) => file) }
  const figures = parseHTML(reportPage(plain)).document.querySelectorAll('figure')
  expect([...figures].map(({ id }) => id)).toEqual(['plot-size', 'plot-tensors', 'plot-documents'])
  const lossless = {
    ...comparison.files[0],
    kld: { ...comparison.files[0].kld, mean: 0 },
    kldInterval: [0, 0] as const,
  }
  const drawn = parseHTML(reportPage({ ...comparison, files: [lossless] })).document.querySelectorAll(
    'figure',
  )
  for (const figure of drawn) expect(figure.innerHTML).not.toMatch(/NaN|Infinity|undefined/)
})

test('the captions say which tokens count, and memory is shown only where it was measured', () => {
  const caption = `the second half of each of ${comparison.settings.windows} windows of ${comparison.settings.context}`
  const unmeasured = {
    ...comparison,
    settings: { ...comparison.settings, repetitions: 0 },
    files: comparison.files.map(({ speed: _, ...file }) => file),
  }
  const heads = (from: string): string[] =>
    [...parseHTML(from).document.querySelectorAll('#files th')].map(({ textContent }) => textContent ?? '')
  expect(heads(page)).toContain('memory')
  expect(heads(reportPage(unmeasured))).not.toContain('memory')
  expect(page).toContain(caption)
  expect(modelCard(comparison)).toContain(caption)
  const [measured, without] = [comparison, unmeasured].map((of) => comparisonText(of).join('\n'))
  expect(measured).toContain(`tokens scored, ${caption}`)
  expect(measured).not.toContain('not measured')
  expect(without).toContain('memory and speed are not measured with --repetitions 0')
})

test('every column has its type, a meaning and something in it', () => {
  const headings = (from: string): string[] =>
    [...parseHTML(from).document.querySelectorAll('#files th')].map(({ textContent }) => textContent ?? '')
  const terms = [...document.querySelectorAll('#terms dt')].map(({ textContent }) => textContent)
  expect(terms).toEqual(headings(page))
  for (const meaning of document.querySelectorAll('#terms dd')) expect(meaning.textContent).not.toBe('')
  expect(terms).toEqual(
    expect.arrayContaining(['type', 'recovered of the best PTQ file no larger', 'memory', 'pp512, tokens/s']),
  )
  const plain = { ...comparison, files: comparison.files.filter(({ method }) => method === 'ptq') }
  expect(headings(reportPage(plain)).join()).not.toMatch(/recovered|as good as/)
  expect(modelCard(plain)).not.toMatch(/recovered|as good as/)
  expect(comparisonText(plain)[0]).not.toMatch(/recovered|as good as/)
  expect(comparisonText(plain)[0]).toMatch(/^ {2}file +type +size/)
})

test('a bound has no interval', () => {
  const files = comparison.files.map((file) =>
    file.effectiveBits
      ? { ...file, effectiveBits: { ...file.effectiveBits, bound: 'atLeast' as const } }
      : file,
  )
  expect(modelCard({ ...comparison, files })).toMatch(/\| ≥ 5\.00 bits \|/)
  expect(comparisonText({ ...comparison, files }).join('\n')).toContain('≥ 5.00 bits')
  const cells = [...parseHTML(reportPage({ ...comparison, files })).document.querySelectorAll('#files td')]
  expect(cells.map(({ textContent }) => textContent)).toContain('≥ 5.00 bits')
})

test('units, scales and the direction of the divergence are said', () => {
  for (const said of [
    'KL(reference || file)',
    'difference of KL divergence, nats per token',
    'logarithmic colour scale',
    'The vertical axis is logarithmic.',
    '40 results in the store',
  ])
    expect(document.body.textContent).toContain(said)
  expect(comparisonText(comparison).join('\n')).toContain(
    'KL divergence, on a logarithmic scale, against size',
  )
})

test('the version of llama.cpp and the number of threads are told', () => {
  for (const told of [document.body.textContent, modelCard(comparison)]) {
    expect(told).toContain('llama.cpp 0.5.0, commit 0ad4a86 (npm packages 3.22.1)')
    expect(told).toContain('2 of 2 threads')
  }
  expect(document.body.textContent).toContain('2, chosen by the size of the model')
})

test('speeds of a busy machine are warned of', () => {
  const warning = /speeds of the same file differ by up to 110 % between repetitions/
  const files = comparison.files.map(({ speed, ...file }) => ({
    ...file,
    ...(speed && {
      speed: {
        ...speed,
        tests: speed.tests.map((test) => ({
          ...test,
          tokensPerSecond: { median: 10, low: 9, high: 20, samples: [9, 10, 20] },
        })),
      },
    }),
  }))
  expect(comparisonText({ ...comparison, files }).join('\n')).toMatch(warning)
  expect(reportPage({ ...comparison, files })).toMatch(warning)
  expect(comparisonText(comparison).join('\n')).not.toMatch(/speeds of the same file/)
  expect(page).not.toMatch(/speeds of the same file/)
})

test('the table may be as wide as a wide screen', () => {
  expect(Number(/body \{[^}]*max-width: (\d+)rem/.exec(page)?.[1])).toBeGreaterThanOrEqual(90)
})

test('nothing is fetched, and only the own script runs', () => {
  expect(document.querySelectorAll('script')).toHaveLength(1)
  expect(document.querySelectorAll('img, link, iframe, object, embed, base, form')).toHaveLength(0)
  const policy = document.querySelector('meta[http-equiv=Content-Security-Policy]')?.getAttribute('content')
  expect(policy).toMatch(/^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]+=*'/)
  for (const element of document.querySelectorAll('*'))
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(/^on/)
      if (/^(src|href|xlink:href|action)$/.test(name)) throw new Error(`${name}=${value}`)
    }
  expect(page).not.toContain('<img')
  expect(page).not.toContain('window.stolen=1</script>')
})

test('the first difference is marked, and the same text is said to be', () => {
  const tables = document.querySelectorAll('table.write')
  expect(tables).toHaveLength(2)
  expect([...tables[0].querySelectorAll('mark')].map((mark) => mark.textContent)).toEqual(
    comparison.files.map(() => ` ${hostile}`),
  )
  expect(tables[1].textContent).toContain('the same')
  expect(tables[1].querySelectorAll('mark')).toHaveLength(0)
})

test('the table has a value to sort by in every cell', () => {
  const heads = document.querySelectorAll('#files thead th')
  const rows = [...document.querySelectorAll('#files tbody tr')]
  expect(rows).toHaveLength(comparison.files.length)
  for (const row of rows) {
    expect(row.querySelectorAll('td[data-value]')).toHaveLength(heads.length)
    expect(Number(row.children[2].getAttribute('data-value'))).toBeGreaterThan(0)
  }
  expect(document.querySelectorAll('#files thead th button')).toHaveLength(heads.length)
})

test('escaping', () => {
  expect(escapeHtml(`<a b="c" d='e'>&\u0000\u009b\u200f\u2028\u202e\ud800\n`)).toBe(
    '&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\n',
  )
  expect(html`<p>${hostile}</p>${undefined}${[html`<b>${1}</b>`, '<i>']}`.source).toBe(
    `<p>${escapeHtml(hostile)}</p><b>1</b>&lt;i&gt;`,
  )
})

test('Markdown for a model card', () => {
  const card = modelCard(comparison)
  const lines = card.split('\n').filter((line) => line.startsWith('|'))
  expect(lines).toHaveLength(3 + comparison.files.length)
  const cells = (line: string) => line.split(/(?<!\\)\|/).length
  expect(new Set(lines.map(cells)).size).toBe(1)
  expect(lines[0]).toContain(
    '| file | type | size | bits/weight | PPL | PPL ratio | mean KLD | 99 % KLD | same top token |',
  )
  expect(lines[2]).toMatch(/^\| reference \| F16 \| 900 MB \| 16\.00 \|/)
  expect(lines.find((line) => line.includes('QAT'))).toContain('5.00 bits (4.90 - 5.10)')
  expect(card).not.toContain('<script>')
})

test('a terminal gets a table, a picture and the verdict', () => {
  const named = {
    ...comparison,
    files: comparison.files.map((file) => ({ ...file, name: `${file.name}\u001b[31m` })),
  }
  const lines = comparisonText(named)
  const text = lines.map(visible).join('\n')
  expect(text).toMatch(/Q4_0.*\\x1b\[31m/)
  expect(lines[3]).toMatch(/^ +Q4_0.* Q4_0 +300 MB +3\.00 +30\.020 +0\.02000 +0\.01800 - 0\.02200 +98\.0 %/)
  expect(text).toMatch(/\no plain, # trained|\(o plain, # trained\)/)
  expect(text).toMatch(/left out: /)
})

test('points in characters', () => {
  const points = [
    { name: 'big', x: 10, y: 0.001, mark: 'o' },
    { name: 'small', x: 1, y: 1, mark: 'o' },
    { name: 'trained', x: 1, y: 0.1, mark: '#' },
  ]
  const lines = scatter(points, 40, 4)
  expect(lines).toHaveLength(4)
  expect(lines[0]).toBe('     1.0 | o small')
  expect(lines[1]).toBe('         | # trained')
  expect(lines[3]).toMatch(/^ {2}0\.0010 \| +o big$/)
  expect(scatter([{ name: 'one', x: 1, y: 0, mark: 'o' }]).join('\n')).toContain('o one')
  expect(scatter([])).toEqual([])
})
