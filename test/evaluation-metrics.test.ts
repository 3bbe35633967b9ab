import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { reliability, riskCoverage } from '../lib/eval/calibration.js'
import { ellipseInBox, rulerFor, scoreMask } from '../lib/eval/metrics.js'
import { distancesTo, surfaceScores } from '../lib/eval/surface.js'
import { Mask } from '../lib/index.js'

interface Reference {
  /** Computed by scikit-learn, torchmetrics and SciPy: see make_evaluation.py. */
  masks: {
    truth: string[]
    found: string[]
    spacing: [number, number]
    tolerance: number
    dice: number
    iou: number
    nsd: number
    hd95: number
  }[]
  calibration: { said: number[]; right: number[]; error: number }[]
}

const reference: Reference = JSON.parse(readFileSync(new URL('fixtures/evaluation.json', import.meta.url), 'utf8'))

describe('scoreMask', () => {
  test.each(reference.masks.map((one, i) => [i, one] as const))('equals the reference on pair %i', (_, one) => {
    const ruler = { unit: 'mm', spacing: one.spacing, tolerance: one.tolerance } as const
    const scores = scoreMask(drawn(one.found), drawn(one.truth), ruler)
    for (const score of ['dice', 'iou', 'nsd', 'hd95'] as const) expect(scores[score], score).toBeCloseTo(one[score], 5)
  })

  test('of equal masks is perfect, and of an empty one as bad as it gets', () => {
    const [square, empty] = [drawn(['....', '.##.', '.##.', '....']), drawn(['....', '....', '....', '....'])]
    expect(scoreMask(square, square, rulerFor(null, 2))).toEqual({ dice: 1, iou: 1, nsd: 1, hd95: 0 })
    expect(scoreMask(empty, square, rulerFor([3, 4], 2))).toEqual({ dice: 0, iou: 0, nsd: 0, hd95: 20 })
    expect(surfaceScores(empty, empty, [1, 1], 2)).toEqual({ nsd: 1, hd95: 0 })
  })
})

test('distances are those to the nearest place, as trying every place finds them', () => {
  const size = { width: fc.integer({ min: 1, max: 12 }), height: fc.integer({ min: 1, max: 12 }) }
  const step = fc.double({ min: 0.1, max: 5, noNaN: true })
  fc.assert(
    fc.property(
      fc.record(size),
      fc.tuple(step, step),
      fc.infiniteStream(fc.nat()),
      ({ width, height }, spacing, chance) => {
        const places = [...chance.take(4)].map((n) => n % (width * height))
        const distances = distancesTo(places, { width, height }, spacing)
        for (let i = 0; i < width * height; i++) {
          const toEach = places.map((place) =>
            Math.hypot(
              spacing[0] * ((i % width) - (place % width)),
              spacing[1] * (Math.floor(i / width) - Math.floor(place / width)),
            ),
          )
          expect(distances[i]).toBeCloseTo(Math.min(...toEach), 9)
        }
      },
    ),
  )
})

test('distances are in millimetres where the spacing is known, but for a microscope', () => {
  expect(rulerFor([0.5, 0.7], 2)).toEqual({ unit: 'mm', spacing: [0.5, 0.7], tolerance: 2 })
  expect(rulerFor(null, 3)).toEqual({ unit: 'px', spacing: [1, 1], tolerance: 3 })
  expect(rulerFor([0.0001, 0.0001], 2)).toMatchObject({ unit: 'px', spacing: [1, 1] })
})

test('the ellipse fits into the box of the mask', () => {
  const mask = drawn(['.......', '.#.....', '.......', '.....#.', '.......'])
  expect(rowsOf(ellipseInBox(mask))).toEqual(['.......', '..###..', '.#####.', '..###..', '.......'])
})

describe('reliability', () => {
  test.each(reference.calibration.map((one, i) => [i, one] as const))('has the error of reference %i', (_, one) => {
    const judgements = one.said.map((said, i) => ({ said, true: one.right[i]! }))
    const { error, bins, count } = reliability(judgements)
    expect(error).toBeCloseTo(one.error, 9)
    expect(bins.reduce((total, bin) => total + bin.count, 0)).toBe(count)
  })

  test('puts what was said beyond 0 to 1 into the outer bins, and says nothing of nothing', () => {
    const { bins } = reliability([
      { said: 1.3, true: 1 },
      { said: -0.2, true: 0 },
      { said: 1, true: 0 },
    ])
    expect(bins.at(-1)).toMatchObject({ count: 2, said: 1, true: 0.5 })
    expect(bins[0]).toMatchObject({ count: 1, said: 0, true: 0 })
    expect(reliability([]).error).toBeNull()
  })
})

describe('riskCoverage', () => {
  const qualities = [1, 0.8, 0.5, 0.1]

  test('is best where trust follows quality, and worse the other way round', () => {
    const right = riskCoverage(qualities.map((quality) => ({ said: quality / 2, true: quality })))
    // Mean risks of the first one, two, three and four answers.
    const risks = [0, 0.1, 0.7 / 3, 0.4]
    expect(right.curve.map(({ coverage }) => coverage)).toEqual([0.25, 0.5, 0.75, 1])
    for (const [i, risk] of risks.entries()) expect(right.curve[i]!.risk).toBeCloseTo(risk, 12)
    expect(right.area).toBeCloseTo((0 + 0.1 + 0.7 / 3 + 0.4) / 4, 12)
    expect(right.area).toBeCloseTo(right.best!, 12)
    const wrong = riskCoverage(qualities.map((quality) => ({ said: -quality, true: quality })))
    expect(wrong.area!).toBeGreaterThan(wrong.chance!)
    expect(wrong.best).toBeCloseTo(right.best!, 12)
  })

  test('is chance where all are trusted alike, in whatever order they come', () => {
    const { area, chance } = riskCoverage(qualities.map((quality) => ({ said: 0.5, true: quality })))
    expect(area).toBeCloseTo(0.4, 12)
    expect(chance).toBeCloseTo(0.4, 12)
  })

  test('thins the curve, and keeps its end', () => {
    const many = Array.from({ length: 1003 }, (_, i) => ({ said: i, true: i / 1003 }))
    const { curve } = riskCoverage(many)
    expect(curve.length).toBeLessThanOrEqual(102)
    expect(curve.at(-1)!.coverage).toBe(1)
  })
})

function drawn(rows: readonly string[]): Mask {
  return new Mask(
    rows[0]!.length,
    rows.length,
    Uint8Array.from(rows.join(''), (pixel) => (pixel === '#' ? 1 : 0)),
  )
}

function rowsOf({ data, width, height }: Mask): string[] {
  return Array.from({ length: height }, (_, y) =>
    Array.from(data.subarray(y * width, (y + 1) * width), (pixel) => (pixel ? '#' : '.')).join(''),
  )
}
