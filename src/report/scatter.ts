/**
 * A scatter plot in characters: x linear, y on a log scale if all values are above 0; names next to their marks if they fit.
 */

interface CharPoint {
  readonly name: string
  readonly x: number
  readonly y: number
  /** One character. */
  readonly mark: string
}

export function scatter(points: readonly CharPoint[], width = 72, height = 14): string[] {
  if (points.length === 0) return []
  const log = points.every(({ y }) => y > 0)
  const xs = points.map(({ x }) => x)
  const ys = points.map(({ y }) => (log ? Math.log(y) : y))
  const place = (values: readonly number[], cells: number) => {
    const [low, high] = [Math.min(...values), Math.max(...values)]
    return (value: number) => (high === low ? 0 : Math.round(((value - low) / (high - low)) * (cells - 1)))
  }
  const column = place(xs, width - 16)
  const row = place(ys, height)
  const grid = Array.from({ length: height }, () => new Array<string>(width).fill(' '))
  const placed = points.map((point, i) => ({ ...point, c: column(xs[i]), r: height - 1 - row(ys[i]) }))
  for (const { r, c, mark } of placed) grid[r][c] = mark
  for (const { r, c, name } of placed) {
    const label = ` ${name}`
    const free = grid[r].slice(c + 1, c + 1 + label.length + 1)
    if (c + 1 + label.length > width || free.some((cell) => cell !== ' ')) continue
    for (const [i, letter] of [...label].entries()) grid[r][c + 1 + i] = letter
  }
  const edge = (i: number): string => {
    const value =
      i === 0
        ? Math.max(...points.map(({ y }) => y))
        : i === height - 1
          ? Math.min(...points.map(({ y }) => y))
          : undefined
    return (value === undefined ? '' : value.toPrecision(2)).padStart(8)
  }
  return grid.map((cells, i) => `${edge(i)} | ${cells.join('').trimEnd()}`.trimEnd())
}
