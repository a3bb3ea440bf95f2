/** What the plots of a report have in common: size, margins, colours. Colours are CSS variables of the page, so that they follow light and dark mode. */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type Html, trusted } from './html.js'

const { document } = parseHTML('<!doctype html><html><body></body></html>')
const palette = 10

/** The colour of the n-th series. */
export const seriesColor = (n: number): string => `var(--series-${n % palette})`

export const methodColor = ({ method }: { method: 'ptq' | 'qat' }): string => `var(--${method})`

export const common = {
  document,
  width: 720,
  height: 400,
  marginTop: 30,
  marginLeft: 64,
  marginRight: 30,
  marginBottom: 44,
  style: { background: 'transparent', fontSize: '13px' },
}

export function draw(options: Plot.PlotOptions): Html {
  const svg = Plot.plot({ ...common, ...options })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return trusted(svg.outerHTML)
}
