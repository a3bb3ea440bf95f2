/** The plots of a report, as SVG. Colours are CSS variables of the page, so that they follow light and dark mode. */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { ComparedFile, Comparison } from '../compare/comparison.js'
import { type Html, trusted } from './html.js'
import { placeLabels } from './labels.js'

const { document } = parseHTML('<!doctype html><html><body></body></html>')
const palette = 10

/** The colour of the n-th series. */
export const seriesColor = (n: number): string => `var(--series-${n % palette})`

const methodColor = ({ method }: { method: 'ptq' | 'qat' }): string => `var(--${method})`

const common = {
  document,
  width: 720,
  height: 400,
  marginTop: 30,
  marginLeft: 64,
  marginRight: 30,
  marginBottom: 44,
  style: { background: 'transparent', fontSize: '13px' },
}

function draw(options: Plot.PlotOptions): Html {
  const svg = Plot.plot({ ...common, ...options })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return trusted(svg.outerHTML)
}

interface Point {
  readonly name: string
  readonly method: 'ptq' | 'qat'
  readonly x: number
  readonly kld: number
  readonly low: number
  readonly high: number
}

const pointOf = (file: ComparedFile, x: number): Point => ({
  name: file.name,
  method: file.method,
  x,
  kld: file.kld.mean,
  low: Math.max(file.kldInterval[0], file.kld.mean / 10),
  high: file.kldInterval[1],
})

/** Loss on a log scale, unless a file has no loss at all. */
const lossAxis = (points: readonly Point[]): Plot.ScaleOptions => ({
  label: '↑ KL divergence from full precision, nats per token',
  grid: true,
  ...(points.every(({ kld }) => kld > 0) && { type: 'log', tickFormat: '~g' }),
})

function lossMarks(points: readonly Point[]): Plot.Markish[] {
  return [
    Plot.ruleX(points, {
      x: 'x',
      y1: 'low',
      y2: 'high',
      stroke: 'currentColor',
      strokeOpacity: 0.6,
      className: 'error-bar',
    }),
    Plot.dot(points, {
      x: 'x',
      y: 'kld',
      r: 5,
      fill: methodColor,
      title: ({ name, kld, low, high }: Point) =>
        `${name}: ${kld.toPrecision(4)} (${low.toPrecision(3)} to ${high.toPrecision(3)})`,
      className: 'file',
    }),
  ]
}

/** A plot of losses with names beside its points; `hidden` of them had no room. */
interface NamedPlot {
  readonly picture: Html
  readonly hidden: number
}

/** Draws twice: where points lie in pixels is only known from a drawing. */
function drawNamed(points: readonly Point[], options: Plot.PlotOptions): NamedPlot {
  const height = 400 + 10 * Math.max(0, Math.min(30, points.length - 8))
  const sized = { ...options, height }
  const drawn = Plot.plot({ ...common, ...sized })
  const [x, y] = [drawn.scale('x'), drawn.scale('y')]
  if (!x?.invert || !y?.invert) return { picture: draw(sized), hidden: points.length }
  const at = (of: Point) => ({ x: x.apply(of.x) as number, y: y.apply(of.kld) as number })
  const placed = placeLabels(
    points.map((point) => ({
      name: point.name,
      // Trained files lie below the PTQ files of their size.
      side: point.method === 'qat' ? 'left' : 'right',
      ...at(point),
    })),
    {
      left: common.marginLeft,
      right: common.width - 4,
      top: common.marginTop - 8,
      bottom: height - common.marginBottom,
    },
  )
  const named = points.flatMap((point, i): Plot.Markish[] => {
    const label = placed[i]
    if (!label) return []
    const end = { x: x.invert?.(label.x), y: y.invert?.(label.y) }
    const line = { x1: point.x, y1: point.kld, x2: end.x, y2: end.y }
    return [
      ...(label.led
        ? [
            Plot.link([line], {
              x1: 'x1',
              y1: 'y1',
              x2: 'x2',
              y2: 'y2',
              stroke: 'currentColor',
              strokeOpacity: 0.4,
              className: 'lead',
            }),
          ]
        : []),
      Plot.text([end], {
        x: 'x',
        y: 'y',
        text: [label.text],
        textAnchor: label.anchor,
        fill: methodColor(point),
        className: 'name',
      }),
    ]
  })
  return {
    picture: draw({
      ...sized,
      // Else names beyond the last point would change the scales by which they were placed.
      x: { ...sized.x, domain: x.domain },
      y: { ...sized.y, domain: y.domain },
      marks: [...(sized.marks ?? []), ...named],
    }),
    hidden: placed.filter((label) => !label).length,
  }
}

/** Loss against size, with the Pareto front as a line. */
export function plotSize({ files }: Comparison): NamedPlot {
  const points = files.map((file) => pointOf(file, file.bytes / 1e9))
  const unit =
    Math.max(...points.map(({ x }) => x)) < 0.1 ? { scale: 1e3, name: 'MB' } : { scale: 1, name: 'GB' }
  const scaled = points.map((point) => ({ ...point, x: point.x * unit.scale }))
  const front = scaled.filter((_, i) => files[i].onFront)
  return drawNamed(scaled, {
    x: { label: `file size, ${unit.name} →`, grid: true, insetLeft: 60, insetRight: 70 },
    y: lossAxis(scaled),
    marks: [
      Plot.line(front, {
        x: 'x',
        y: 'kld',
        sort: 'x',
        stroke: 'var(--front)',
        strokeDasharray: '4,3',
        className: 'front',
      }),
      ...lossMarks(scaled),
    ],
  })
}

/** Loss against generation speed, with its spread; undefined if no speed was measured. */
export function plotSpeed({ files }: Comparison): NamedPlot | undefined {
  const measured = files.flatMap((file) => {
    const writing = file.speed?.tests.find(({ kind }) => kind === 'generate')
    return writing ? [{ file, ...writing.tokensPerSecond }] : []
  })
  if (measured.length === 0) return undefined
  const points = measured.map(({ file, median, low, high }) => ({
    ...pointOf(file, median),
    slow: low,
    fast: high,
  }))
  return drawNamed(points, {
    x: { label: 'generated tokens per second →', grid: true, insetLeft: 60, insetRight: 70 },
    y: lossAxis(points),
    marks: [
      Plot.ruleY(points, {
        y: 'kld',
        x1: 'slow',
        x2: 'fast',
        stroke: 'currentColor',
        strokeOpacity: 0.6,
        className: 'spread',
      }),
      ...lossMarks(points),
    ],
  })
}

/** Relative error of every tensor (column) of every file (row). */
export function plotTensors({ files }: Comparison): Html | undefined {
  const cells = files.flatMap((file) =>
    file.tensorErrors.map(({ name, type, relativeError }) => ({
      file: file.name,
      tensor: name,
      type,
      relativeError,
    })),
  )
  if (cells.length === 0) return undefined
  const shown = cells.map((cell) => ({ ...cell, error: Math.min(cell.relativeError, 10) }))
  const title = ({ file, tensor, type, relativeError }: (typeof cells)[number]) =>
    `${file}, ${tensor} as ${type}: ${(100 * relativeError).toPrecision(3)} %`
  const tensors = [...new Set(cells.map(({ tensor }) => tensor))]
  return draw({
    height: 60 + 26 * files.length,
    marginLeft: 130,
    marginBottom: 30,
    x: {
      domain: tensors,
      label: `tensors in the order of the file (${tensors.length}) →`,
      tickFormat: () => '',
      tickSize: 0,
      padding: 0.05,
    },
    y: { domain: files.map(({ name }) => name), label: null, tickSize: 0, padding: 0.1 },
    color: { type: 'log', scheme: 'viridis', domain: [0.001, 1], clamp: true },
    marks: [
      Plot.cell(shown, {
        x: 'tensor',
        y: 'file',
        fill: (cell: { error: number }) => Math.max(cell.error, 0.001),
        title,
        className: 'tensor',
      }),
    ],
  })
}

/** Validation loss over the steps of training; undefined if nothing was trained here. */
export function plotTraining({ files }: Comparison): Html | undefined {
  const trained = files.filter(({ training }) => training)
  if (trained.length === 0) return undefined
  const points = trained.flatMap(({ name, training }) =>
    (training?.validation ?? []).map(({ step, mean, se }) => ({
      name,
      step,
      mean,
      low: Math.max(mean - 2 * se, mean / 10),
      high: mean + 2 * se,
    })),
  )
  return draw({
    height: 320,
    x: { label: 'step →', grid: true },
    y: { label: '↑ validation KL divergence, nats per token', type: 'log', grid: true, tickFormat: '~g' },
    color: { type: 'identity' },
    marks: trained.flatMap(({ name }, i) => {
      const own = points.filter((point) => point.name === name)
      const stroke = seriesColor(i)
      return [
        Plot.ruleX(own, {
          x: 'step',
          y1: 'low',
          y2: 'high',
          stroke,
          strokeOpacity: 0.5,
          className: 'error-bar',
        }),
        Plot.line(own, { x: 'step', y: 'mean', stroke, className: 'curve' }),
        Plot.dot(own, {
          x: 'step',
          y: 'mean',
          fill: stroke,
          r: 3,
          className: 'validation',
          title: ({ step, mean }: { step: number; mean: number }) =>
            `${name}, step ${step}: ${mean.toPrecision(4)}`,
        }),
        Plot.text(own.slice(-1), {
          x: 'step',
          y: 'mean',
          text: 'name',
          dx: -6,
          dy: -9,
          textAnchor: 'end',
          fill: stroke,
          className: 'name',
        }),
      ]
    }),
  })
}

const mostParts = 40

/** Loss of every file in every document, or part of the text. */
export function plotDocuments({ files }: Comparison): Html {
  const points = files.flatMap((file, i) =>
    file.parts
      .slice(0, mostParts)
      .map(({ name, kld, tokens }) => ({ file: file.name, part: name, kld, tokens, color: seriesColor(i) })),
  )
  const parts = [...new Set(points.map(({ part }) => part))]
  const positive = points.every(({ kld }) => kld > 0)
  return draw({
    height: 60 + 24 * parts.length,
    marginLeft: 170,
    x: {
      label: 'KL divergence, nats per token →',
      grid: true,
      ...(positive && { type: 'log', tickFormat: '~g' }),
    },
    y: {
      domain: parts,
      label: null,
      tickFormat: (name: string) => (name.length > 24 ? `...${name.slice(-22)}` : name),
    },
    marks: [
      Plot.dot(points, {
        x: 'kld',
        y: 'part',
        r: 5,
        fill: 'color',
        className: 'document',
        title: ({ file, part, kld, tokens }: (typeof points)[number]) =>
          `${file}, ${part}: ${kld.toPrecision(4)} on ${tokens} tokens`,
      }),
    ],
    color: { type: 'identity' },
  })
}
