/** The other plots of a report: errors of tensors, training, documents. */
import * as Plot from '@observablehq/plot'
import type { Comparison } from '../compare/comparison.js'
import { draw, seriesColor } from './draw.js'
import type { Html } from './html.js'

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
