/** Names beside the points of a plot, so that none lies on another, on a point or outside of the frame. */

interface LabelPoint {
  readonly name: string
  /** Pixels from the upper left corner. */
  readonly x: number
  readonly y: number
  /** The side that is tried first: the right, above the point, or the left, below it. */
  readonly side: 'right' | 'left'
}

interface Label {
  readonly text: string
  /** Of the end that is nearer to the point, on the middle of the line. */
  readonly x: number
  readonly y: number
  readonly anchor: 'start' | 'end'
  /** Whether it is so far away that a line has to lead to it. */
  readonly led: boolean
}

interface Box {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

const mostCharacters = 28
/** Of a character at 13 pixels, a little more than it is on average. */
const characterWidth = 7.4
const lineHeight = 15
const pointRadius = 6
/** Distances from the point, across and down; those from `leading` on get a line. */
const distances = [
  [9, 7],
  [9, 0],
  [14, 20],
  [26, 34],
  [40, 50],
  [60, 68],
] as const
const leading = 14

const shortened = (name: string): string =>
  name.length > mostCharacters ? `${name.slice(0, mostCharacters - 1)}…` : name

const overlap = (a: Box, b: Box): boolean =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom

/** A label for each point, in their order; undefined where there is no room. */
export function placeLabels(points: readonly LabelPoint[], frame: Box): (Label | undefined)[] {
  const taken: Box[] = points.map(({ x, y }) => ({
    left: x - pointRadius,
    right: x + pointRadius,
    top: y - pointRadius,
    bottom: y + pointRadius,
  }))
  return points.map(({ name, x, y, side }) => {
    const text = shortened(name)
    const width = text.length * characterWidth
    for (const [across, down] of distances)
      for (const [right, below] of [
        [side === 'right', side === 'left'],
        [side === 'right', side === 'right'],
        [side === 'left', side === 'left'],
        [side === 'left', side === 'right'],
      ]) {
        const [nearX, nearY] = [x + (right ? across : -across), y + (below ? down : -down)]
        const box = {
          left: right ? nearX : nearX - width,
          right: right ? nearX + width : nearX,
          top: nearY - lineHeight / 2,
          bottom: nearY + lineHeight / 2,
        }
        const inside =
          box.left >= frame.left &&
          box.right <= frame.right &&
          box.top >= frame.top &&
          box.bottom <= frame.bottom
        if (!inside || taken.some((other) => overlap(box, other))) continue
        taken.push(box)
        return { text, x: nearX, y: nearY, anchor: right ? 'start' : 'end', led: across >= leading }
      }
    return undefined
  })
}
