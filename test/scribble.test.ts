import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkedScribble, type Path, SCRIBBLE_POINTS, type Scribble, scribblePoints } from '../lib/scribble.js'

const size = { width: 320, height: 200 }
/** Spread evenly; `fc.double` favours numbers near zero. */
const coordinate = (side: number) => fc.integer({ min: -5, max: 10 * side - 6 }).map((tenths) => tenths / 10)
const paths = fc.array(fc.tuple(coordinate(320), coordinate(200)), { minLength: 1, maxLength: 20 })

function lengthOf(path: Path): number {
  return path.slice(1).reduce((sum, [x, y], i) => sum + Math.hypot(x - path[i]![0], y - path[i]![1]), 0)
}

/** The point at a distance along a line, found by walking it in small steps. */
function walked(path: Path, distance: number): { x: number; y: number } {
  let left = distance
  for (const [i, [bx, by]] of path.slice(1).entries()) {
    const [ax, ay] = path[i]!
    const piece = Math.hypot(bx - ax, by - ay)
    if (left <= piece) return { x: ax + (left / piece) * (bx - ax), y: ay + (left / piece) * (by - ay) }
    left -= piece
  }
  return { x: path.at(-1)![0], y: path.at(-1)![1] }
}

describe('a scribble becomes points', () => {
  it('in the middle of equal pieces of it, as many as the spacing and the bound allow', () => {
    fc.assert(
      fc.property(paths, fc.constantFrom(0, 1), (path, label) => {
        const points = scribblePoints({ path, label: label as 0 | 1 }, size)
        const length = lengthOf(path)
        expect(points).toHaveLength(Math.min(SCRIBBLE_POINTS, Math.max(1, Math.floor(length / 10))))
        for (const [k, point] of points.entries()) {
          const { x, y } = length > 0 ? walked(path, ((k + 0.5) * length) / points.length) : walked(path.slice(0, 1), 0)
          expect(point.x).toBeCloseTo(x, 6)
          expect(point.y).toBeCloseTo(y, 6)
          expect(point.label).toBe(label)
        }
      }),
    )
  })

  it('that do not depend on how finely it was sampled', () => {
    const path: Path = [
      [10, 10],
      [110, 10],
      [110, 90],
    ]
    const fine: Path = [
      ...Array.from({ length: 100 }, (_, i) => [10 + i, 10] as const),
      ...Array.from({ length: 81 }, (_, i) => [110, 10 + i] as const),
    ]
    const [coarse, dense] = [scribblePoints({ path }, size), scribblePoints({ path: fine }, size)]
    for (const [i, { x, y }] of coarse.entries()) {
      expect(dense[i]!.x).toBeCloseTo(x, 9)
      expect(dense[i]!.y).toBeCloseTo(y, 9)
    }
  })

  it('one, where it is a dot', () => {
    expect(
      scribblePoints(
        {
          path: [
            [5, 6],
            [5, 6],
          ],
          label: 0,
        },
        size,
      ),
    ).toEqual([{ x: 5, y: 6, label: 0 }])
  })

  it('of the foreground unless it says otherwise', () => {
    expect(checkedScribble({ path: [[5, 6]] }, 'scribble', size)).toEqual({ path: [[5, 6]], label: 1 })
  })
})

describe('a scribble is refused', () => {
  const refused: [string, unknown, RegExp][] = [
    ['that is a list', [[1, 1]], /\{ path, label \}/],
    ['without a path', { label: 1 }, /scribble\.path is undefined/],
    ['with an empty path', { path: [] }, /at least one point/],
    ['with points that are objects', { path: [{ x: 1, y: 1 }] }, /scribble\.path\[0\]/],
    [
      'that leaves the image',
      {
        path: [
          [1, 1],
          [319.5, 2],
        ],
      },
      /x of scribble\.path\[1\] is 319\.5/,
    ],
    ['with another label', { path: [[1, 1]], label: 2 }, /scribble\.label is 2/],
  ]
  for (const [name, scribble, message] of refused) {
    it(name, () => {
      expect(() => checkedScribble(scribble as Scribble, 'scribble', size)).toThrow(
        expect.objectContaining({ code: 'INVALID_PROMPT', message: expect.stringMatching(message) }),
      )
    })
  }
})
