import fc from 'fast-check'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { addon } from '../lib/addon.js'
import { boxAround, checkedLasso, LASSO_LOGIT, type LogitsFrame, lassoLogits } from '../lib/lasso.js'
import type { Path } from '../lib/scribble.js'

const square: LogitsFrame = { width: 64, height: 64, imageSize: 64, maskSize: 32, resizeMode: 'longest' }

/** How often a line winds around a point: the angles under which it is seen, added up. */
function winding(x: number, y: number, lasso: Path): number {
  let turned = 0
  for (const [i, [bx, by]] of lasso.entries()) {
    const [ax, ay] = lasso.at(i - 1)!
    const angle = Math.atan2(by - y, bx - x) - Math.atan2(ay - y, ax - x)
    turned += angle > Math.PI ? angle - 2 * Math.PI : angle < -Math.PI ? angle + 2 * Math.PI : angle
  }
  return Math.round(turned / (2 * Math.PI))
}

function distanceToLine(x: number, y: number, lasso: Path): number {
  const distances = lasso.map(([bx, by], i) => {
    const [ax, ay] = lasso.at(i - 1)!
    const length = (bx - ax) ** 2 + (by - ay) ** 2
    const along = length > 0 ? ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length : 0
    const part = Math.min(1, Math.max(0, along))
    return Math.hypot(x - ax - part * (bx - ax), y - ay - part * (by - ay))
  })
  return Math.min(...distances)
}

function isInside(logits: Float32Array | null, i: number): boolean {
  return (logits?.[i] ?? -1) > 0
}

/** Spread evenly; `fc.double` favours numbers near zero. */
const coordinate = fc.integer({ min: -500, max: 63500 }).map((thousandths) => thousandths / 1000)
const corner = fc.tuple(coordinate, coordinate)

/** The cells, of those whose centres are not too near the line, for which the two rules disagree. */
function disagreements(
  lasso: Path,
  logits: Float32Array | null,
  margin: number,
  rule: (x: number, y: number) => boolean,
) {
  // With two pixels a cell, the first cell covers the pixels 0 and 1, whose centres are at 0 and 1.
  const centres = Array.from({ length: 32 * 32 }, (_, i) => [2 * (i % 32) + 0.5, 2 * Math.floor(i / 32) + 0.5] as const)
  return centres.filter(([x, y], i) => isInside(logits, i) !== rule(x, y) && distanceToLine(x, y, lasso) > margin)
}

const lassos = fc.array(corner, { minLength: 3, maxLength: 12, size: 'max' })

describe('a lasso becomes a mask prompt', () => {
  it('whose cells lie inside where the line winds around them, crossings and all', () => {
    fc.assert(
      fc.property(lassos, (lasso) => {
        const logits = lassoLogits(lasso, square)
        expect(disagreements(lasso, logits, 1e-6, (x, y) => winding(x, y, lasso) !== 0)).toEqual([])
      }),
    )
  })

  it('as librsvg fills the polygon with the non-zero rule', async () => {
    await fc.assert(
      fc.asyncProperty(lassos, async (lasso) => {
        const logits = lassoLogits(lasso, square)
        const points = lasso.map(([x, y]) => `${x + 0.5},${y + 0.5}`).join(' ')
        const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256" viewBox="0 0 64 64">
          <rect width="64" height="64" fill="black"/><polygon points="${points}" fill="white" fill-rule="nonzero"/></svg>`
        const { data, info } = await sharp(Buffer.from(svg)).raw().toBuffer({ resolveWithObject: true })
        const filled = (x: number, y: number) =>
          data[(4 * (y + 0.5) * info.width + 4 * (x + 0.5)) * info.channels]! > 127
        expect(disagreements(lasso, logits, 0.5, filled)).toEqual([])
      }),
      { numRuns: 30 },
    )
  })

  it('that lies where the runtime puts low-resolution logits in the image', () => {
    const frames = [
      { width: 200, height: 100, resizeMode: 'longest' },
      { width: 100, height: 200, resizeMode: 'longest' },
      { width: 90, height: 97, resizeMode: 'longest' },
      { width: 200, height: 100, resizeMode: 'stretch' },
    ] as const
    for (const size of frames) {
      const { width, height, resizeMode } = size
      const lasso: Path = [
        [0.2 * width, 0.1 * height],
        [0.9 * width, 0.3 * height],
        [0.5 * width, 0.95 * height],
      ]
      const logits = lassoLogits(lasso, { ...size, imageSize: 256, maskSize: 128 })!
      const upscaled = addon().upscaleLogits(logits, 128, width, height, 256, resizeMode)
      const cell = Math.max(width, height) / 128
      const wrong = Array.from(
        { length: width * height },
        (_, i) => [i % width, Math.floor(i / width)] as const,
      ).filter(
        ([x, y], i) => upscaled[i]! > 0 !== (winding(x, y, lasso) !== 0) && distanceToLine(x, y, lasso) > 1.5 * cell,
      )
      expect(wrong, `${width} x ${height}, ${resizeMode}`).toEqual([])
    }
  })

  it('without a hole where the line goes round twice', () => {
    const ring: Path = [
      [10, 10],
      [50, 10],
      [50, 50],
      [10, 50],
    ]
    expect(lassoLogits([...ring, ...ring], square)).toEqual(lassoLogits(ring, square))
  })

  it('of two values, the logits of the probabilities 0.999 and 0.001', () => {
    const probabilities = lassoLogits(
      checkedLasso(
        [
          [10, 10],
          [50, 10],
          [30, 50],
        ],
        'lasso',
        square,
      ),
      square,
    )!.map((logit) => 1 / (1 + Math.exp(-logit)))
    expect(Math.max(...probabilities)).toBeCloseTo(0.999, 6)
    expect(Math.min(...probabilities)).toBeCloseTo(0.001, 6)
    expect(new Set(probabilities).size).toBe(2)
    expect(LASSO_LOGIT).toBeCloseTo(6.9, 1)
  })

  it('or to none where it is finer than the grid', () => {
    expect(
      lassoLogits(
        [
          [10.6, 10.6],
          [11.4, 10.6],
          [11, 11.4],
        ],
        square,
      ),
    ).toBeNull()
  })

  it('and to the box around it', () => {
    expect(
      boxAround([
        [10, 30],
        [50, 12],
        [30, 55.5],
      ]),
    ).toEqual([10, 12, 50, 55.5])
  })

  it('as large as the circle that it follows, however finely drawn', () => {
    const lasso: Path = Array.from({ length: 200_000 }, (_, i) => {
      const angle = (2 * Math.PI * i) / 200_000
      return [32 + 20 * Math.cos(angle), 32 + 20 * Math.sin(angle)] as const
    })
    const inside = lassoLogits(checkedLasso(lasso, 'lasso', square), square)!.filter((logit) => logit > 0).length
    expect(inside * 4).toBeGreaterThan(0.95 * Math.PI * 20 ** 2)
    expect(inside * 4).toBeLessThan(1.05 * Math.PI * 20 ** 2)
  })
})

describe('a lasso is refused', () => {
  const refused: [string, unknown, RegExp][] = [
    ['that is no list', { x: 1 }, /at least three points/],
    [
      'of two points',
      [
        [1, 1],
        [2, 2],
      ],
      /at least three points/,
    ],
    ['with a point that is an object', [[1, 1], { x: 1, y: 2 }, [3, 3]], /lasso\[1\].*\[x, y\]/],
    [
      'with a point of three numbers',
      [
        [1, 1],
        [2, 2, 2],
        [3, 3],
      ],
      /lasso\[1\]/,
    ],
    [
      'with NaN',
      [
        [1, 1],
        [Number.NaN, 2],
        [3, 3],
      ],
      /x of lasso\[1\] is NaN/,
    ],
    [
      'with text',
      [
        [1, 1],
        [2, '2'],
        [3, 3],
      ],
      /y of lasso\[1\] is '2'/,
    ],
    [
      'beyond the image',
      [
        [1, 1],
        [2, 63.6],
        [3, 3],
      ],
      /y of lasso\[1\] is 63.6.*64 x 64/,
    ],
    [
      'on one line of pixels',
      [
        [1, 7],
        [20, 7],
        [9, 7],
      ],
      /box around lasso/,
    ],
  ]
  for (const [name, lasso, message] of refused) {
    it(name, () => {
      expect(() => checkedLasso(lasso as Path, 'lasso', square)).toThrow(
        expect.objectContaining({ code: 'INVALID_PROMPT', message: expect.stringMatching(message) }),
      )
    })
  }
})
