/**
 * Opens the page of `quench advise --open` in headless Chromium and compares its pick with the command's at 20 positions of the
 * sliders; then by keyboard, on a phone, and with nothing fetched.
 *
 *   npx tsx scripts/check-advice.ts [--screenshots FOLDER]
 *
 * QUENCH_CHROMIUM names the browser (default /usr/bin/chromium; on Debian `apt-get install chromium`).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { chromium, type Page } from 'playwright-core'
import { advise } from '../src/advise/advise.js'
import { pageData, stops } from '../src/advise/page/data.js'
import { advicePage } from '../src/advise/page/page.js'
import { prepareAdvice } from '../src/advise/prepare.js'
import { Random } from '../src/random.js'

const { values } = parseArgs({ options: { screenshots: { type: 'string' } } })
const folder = mkdtempSync(join(tmpdir(), 'quench-advice-'))
const problems: string[] = []
const check = (what: string, holds: boolean): void => {
  if (!holds) problems.push(what)
}

const names = ['gemma-3-27b', 'qwen3-30b-a3b']
const path = join(folder, 'advice.html')
const prepared = await prepareAdvice({ names, ramBytes: 16e9, vramBytes: 8e9 })
writeFileSync(path, advicePage(pageData(prepared)))

const set = async (page: Page, id: string, position: number): Promise<void> =>
  page.locator(`#${id}`).evaluate((element, value) => {
    const input = element as unknown as { value: string; dispatchEvent(event: unknown): void }
    input.value = String(value)
    input.dispatchEvent(new Event('input', { bubbles: true }))
  }, position)
const pickOf = async (page: Page): Promise<string> =>
  (await page.locator('#verdict').getAttribute('data-pick')) ?? 'no verdict'

async function compare(page: Page): Promise<number> {
  const random = new Random(5)
  const seen = new Set<string>()
  for (let i = 0; i < 20; i++) {
    const [ram, vram, context] = [stops.ram, stops.vram, stops.context].map((all) => random.int(all.length))
    for (const [id, position] of [
      ['ram', ram],
      ['vram', vram],
      ['context', context],
    ] as const)
      await set(page, id, position)
    const name = names[i % names.length]
    await page.locator('#model').selectOption(name)
    const advice = await advise({
      names: [name],
      ramBytes: stops.ram[ram] * 1e9,
      vramBytes: stops.vram[vram] * 1e9,
      context: stops.context[context],
    })
    const shown = await pickOf(page)
    const told = advice.models[0].pick ?? ''
    seen.add(told)
    check(
      `${name}, ${stops.ram[ram]} GB, ${stops.vram[vram]} GB, ${stops.context[context]}: page ${shown}, command ${told}`,
      shown === told,
    )
    const row = page.locator('#files tr.best td').first()
    check(
      'the table marks another file',
      told === '' || (await row.textContent()) === told.replace(/^\S+ /, ''),
    )
  }
  return seen.size
}

const browser = await chromium.launch({
  executablePath: process.env.QUENCH_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
try {
  const address = pathToFileURL(path).href
  for (const [name, view] of [
    ['desk', { viewport: { width: 1000, height: 900 } }],
    ['phone', { viewport: { width: 390, height: 760 }, colorScheme: 'dark' }],
  ] as const) {
    const page = await browser.newPage(view)
    page.on('console', (message) => check(`${name}: the console says ${message.text()}`, false))
    page.on('pageerror', (error) => check(`${name}: ${error.message}`, false))
    page.on('request', (request) => check(`${name}: fetches ${request.url()}`, request.url() === address))
    await page.goto(address)
    if (name === 'desk') check('all positions have one answer', (await compare(page)) > 3)
    const wide = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
    check(`${name}: the page is wider than the screen`, Number(await page.evaluate(wide)) <= 0)
    await set(page, 'ram', 4)
    await page.locator('#ram').focus()
    await page.keyboard.press('ArrowRight')
    check(
      `${name}: a key moves no slider`,
      (await page.locator('#ram-value').textContent()) === `${stops.ram[5]} GB`,
    )
    check(`${name}: there are no marks`, (await page.locator('#plot circle').count()) > 5)
    if (values.screenshots) await page.screenshot({ path: join(values.screenshots, `advice-${name}.png`) })
    await page.close()
  }
} finally {
  await browser.close()
  rmSync(folder, { recursive: true, force: true })
}
for (const problem of problems) console.error(`the page: ${problem}`)
console.log(`the page of advise opens in Chromium: 20 positions, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
