/** Names beside points: none lies on another or on a point, and none leaves the frame. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { placeLabels } from '../../src/report/labels.js'

const frame = { left: 60, right: 700, top: 20, bottom: 380 }
const point = fc.record({
  name: fc.string({ minLength: 1, maxLength: 60 }),
  x: fc.integer({ min: frame.left, max: frame.right }),
  y: fc.integer({ min: frame.top, max: frame.bottom }),
  side: fc.constantFrom('left' as const, 'right' as const),
})

test('any number of points', () => {
  fc.assert(
    fc.property(fc.array(point, { maxLength: 40 }), (points) => {
      const labels = placeLabels(points, frame)
      expect(labels).toHaveLength(points.length)
      const boxes = labels.flatMap((label) => {
        if (!label) return []
        const width = label.text.length * 7
        const left = label.anchor === 'start' ? label.x : label.x - width
        return [{ left, right: left + width, top: label.y - 6, bottom: label.y + 6 }]
      })
      for (const [i, box] of boxes.entries()) {
        expect(box.left >= frame.left && box.right <= frame.right).toBe(true)
        const under = points.some(
          ({ x, y }) => x > box.left && x < box.right && y > box.top && y < box.bottom,
        )
        const on = boxes
          .slice(i + 1)
          .some((b) => box.left < b.right && b.left < box.right && box.top < b.bottom && b.top < box.bottom)
        expect([under, on]).toEqual([false, false])
      }
    }),
    { numRuns: 100 },
  )
})

test('one point has its name beside it, on the side that is asked for; a long name is cut', () => {
  const [right, left] = (['right', 'left'] as const).map(
    (side) => placeLabels([{ name: 'Q4_0', x: 300, y: 200, side }], frame)[0],
  )
  expect(right).toEqual({ text: 'Q4_0', x: 309, y: 193, anchor: 'start', led: false })
  expect(left).toEqual({ text: 'Q4_0', x: 291, y: 207, anchor: 'end', led: false })
  const [long] = placeLabels([{ name: 'a'.repeat(50), x: 300, y: 200, side: 'right' }], frame)
  expect(long?.text).toBe(`${'a'.repeat(27)}…`)
})

test('where several points are one, each further name is led to; where there is no room, it is left out', () => {
  const points = Array.from({ length: 30 }, (_, i) => ({
    name: `model-${i}`,
    x: 300,
    y: 200,
    side: 'right' as const,
  }))
  const labels = placeLabels(points, frame)
  expect(labels[0]?.led).toBe(false)
  expect(labels.some((label) => label?.led)).toBe(true)
  expect(labels.at(-1)).toBeUndefined()
})
