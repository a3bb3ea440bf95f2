/** Output of `quench quantize --dry-run`: a line for every tensor, and the size of the file. */
import type { QuantizePlan, TensorPlan } from '../../quantize/plan.js'
import { humanBytes, plain, table } from '../terminal/format.js'
import { headed, type Line } from '../terminal/style.js'

export function describePlan({ input, type, bytes, bitsPerWeight, tensors }: QuantizePlan): Line[] {
  const rows = tensors.map((tensor) => [
    plain(tensor.name),
    tensor.shape.join(' x '),
    tensor.from,
    tensor.to,
    humanBytes(tensor.bytes),
    remark(tensor),
  ])
  const noted = rows.some((row) => row.at(-1) !== '')
  const header = ['tensor', 'shape', 'from', 'to', 'size', 'remark']
  const columns = [header, ...rows].map((row) => (noted ? row : row.slice(0, -1)))
  return [
    ...headed(table(columns, new Set([4]))),
    '',
    `${plain(input.path, 1000)} as ${type}: ${humanBytes(bytes)} (${bytes} bytes), ${bitsPerWeight.toFixed(3)} bits per weight; nothing was written`,
  ]
}

function remark({ fallbackOf, problem, shape, source }: TensorPlan): string {
  const moved = source === undefined ? [] : [`was ${plain(source)}`]
  const fell =
    fallbackOf === undefined ? [] : [`not ${fallbackOf}, whose blocks do not divide rows of ${shape[0]}`]
  return [...moved, ...fell, ...(problem === undefined ? [] : [problem])].join('; ')
}
