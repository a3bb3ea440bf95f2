/** Loss against size and against speed, with the names of files beside their points. */
import * as Plot from '@observablehq/plot'
import type { ComparedFile, Comparison } from '../compare/comparison.js'
import { common, draw, methodColor } from './draw.js'
import type { Html } from './html.js'
import { placeLabels } from './labels.js'

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
