/**
 * Opens a report from disk in headless Chromium and checks that every plot has the right number of marks, the table sorts,
 * nothing is written to the console and nothing is fetched, in light and dark mode, on a phone, and printed.
 *
 *   npx tsx scripts/check-report.ts REPORT.html REPORT.json [--screenshots FOLDER]
 *
 * Without files it makes a small comparison of the first block of the shipped model. QUENCH_CHROMIUM names the browser (default
 * /usr/bin/chromium; on Debian `apt-get install chromium`).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium, type Page } from 'playwright-core'
import type { Comparison } from '../src/index.js'
import { reportPage } from '../src/report/page.js'
import { crowded, expectedMarks } from '../test/support/comparison.js'
import { firstBlocks } from '../test/support/with-metadata.js'

const { values, positionals } = parseArgs({
  options: { screenshots: { type: 'string' } },
  allowPositionals: true,
})
const root = resolve(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'quench-report-'))
const problems: string[] = []
const check = (what: string, holds: boolean): void => {
  if (!holds) problems.push(what)
}

/** A report with every kind of plot, and its JSON. */
async function smallReport(): Promise<[html: string, json: string]> {
  const html = join(folder, 'report.html')
  const model = join(folder, 'quench-5m-f16.gguf')
  await firstBlocks(join(root, 'models/quench-5m-f16.gguf'), model, 1)
  const options = [
    ...['--data', join(root, 'models/quench-5m.test.txt'), '--tokens', '2048', '-c', '128'],
    ...['--types', 'Q8_0,Q4_0', '--train', 'Q2_K', '--steps', '1', '--train-tokens', '2048'],
    ...['-r', '2', '-p', '64', '-n', '16', '--folder', folder, '--store', join(folder, 'store.db')],
  ]
  const json = execFileSync(
    process.execPath,
    [join(root, 'dist/cli/main.js'), 'compare', model, ...options, '-o', html, '--json'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  )
  return [html, json]
}

const [reportFile, jsonFile] = positionals
const [html, json] =
  reportFile && jsonFile ? [reportFile, readFileSync(jsonFile, 'utf8')] : await smallReport()
const comparison = JSON.parse(json) as Comparison

async function checkPage(page: Page, name: string, of = comparison): Promise<void> {
  for (const [figure, marks] of Object.entries(expectedMarks(of)))
    for (const [kind, count] of Object.entries(marks)) {
      const found = await page.locator(`#${figure} svg .${kind} > *`).count()
      // Names for which there is no room are left out.
      const right = kind === 'name' ? found <= count && found >= 0.8 * count : found === count
      check(`${name}: ${figure} has ${found} of ${count} marks "${kind}"`, right)
    }
  for (const svg of await page.locator('figure svg').all()) {
    const box = await svg.boundingBox()
    check(
      `${name}: a picture is ${box?.width} x ${box?.height}`,
      (box?.width ?? 0) > 200 && (box?.height ?? 0) > 50,
    )
  }
  const overflow = await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  )
  check(`${name}: the page is ${overflow} pixels wider than the screen`, Number(overflow) <= 0)
}

/** Names of points that lie on each other, or outside of their picture. */
async function checkNames(page: Page, name: string): Promise<void> {
  for (const figure of ['plot-size', 'plot-speed']) {
    const boxes = await page.locator(`#${figure} svg .name > *`).evaluateAll((texts) =>
      texts.map((text) => {
        const { left, right, top, bottom } = text.getBoundingClientRect()
        return { text: text.textContent, left, right, top, bottom }
      }),
    )
    check(`${name}: ${figure} names ${boxes.length} files`, boxes.length > 0)
    for (const [i, a] of boxes.entries())
      for (const b of boxes.slice(i + 1))
        check(
          `${name}: in ${figure} ${a.text} lies on ${b.text}`,
          a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2,
        )
    const box = await page.locator(`#${figure} svg`).boundingBox()
    check(
      `${name}: a name of ${figure} leaves the picture`,
      box !== null && boxes.every(({ left, right }) => left >= box.x && right <= box.x + box.width + 1),
    )
  }
}

async function checkSorting(page: Page): Promise<void> {
  const columns = await page.locator('#files thead button').count()
  const values = (column: number) =>
    page
      .locator(`#files tbody tr td:nth-child(${column + 1})`)
      .evaluateAll((cells) => cells.map((cell) => cell.getAttribute('data-value') ?? ''))
  for (let column = 0; column < columns; column++) {
    for (const direction of ['ascending', 'descending']) {
      await page.locator('#files thead button').nth(column).click()
      const shown = (await values(column)).filter((value) => value !== '')
      const sign = direction === 'ascending' ? 1 : -1
      const by = (a: string, b: string) =>
        sign *
        (Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? a.localeCompare(b) : Number(a) - Number(b))
      check(`column ${column} is not ${direction}: ${shown}`, shown.join() === [...shown].sort(by).join())
      const stated = await page.locator('#files thead th').nth(column).getAttribute('aria-sort')
      check(`column ${column} says ${stated}`, stated === direction)
    }
  }
}

const views = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1000, height: 760 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1000, height: 760 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 760 } },
] as const

const browser = await chromium.launch({
  executablePath: process.env.QUENCH_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
try {
  const address = pathToFileURL(resolve(html)).href
  const backgrounds: unknown[] = []
  for (const { name, ...view } of views) {
    const page = await browser.newPage(view)
    page.on('console', (message) => check(`${name}: the console says ${message.text()}`, false))
    page.on('pageerror', (error) => check(`${name}: ${error.message}`, false))
    page.on('request', (request) => check(`${name}: fetches ${request.url()}`, request.url() === address))
    await page.goto(address)
    await checkPage(page, name)
    backgrounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
    if (values.screenshots) await page.screenshot({ path: join(values.screenshots, `report-${name}.png`) })
    if (name === 'light') await checkSorting(page)
    if (name === 'light') await checkNames(page, name)
    if (name === 'light') check('printing gives nothing', (await page.pdf({ format: 'A4' })).length > 10_000)
    await page.close()
  }
  const crowd = await browser.newPage(views[0])
  const crowdFile = join(folder, 'crowded.html')
  writeFileSync(crowdFile, reportPage(crowded))
  await crowd.goto(pathToFileURL(crowdFile).href)
  await checkPage(crowd, 'crowded', crowded)
  await checkNames(crowd, 'crowded')
  check('light and dark look alike', backgrounds[0] !== backgrounds[1])
} finally {
  await browser.close()
  rmSync(folder, { recursive: true, force: true })
}
for (const problem of problems) console.error(`the report: ${problem}`)
console.log(`the report opens in Chromium: ${views.length} views, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
