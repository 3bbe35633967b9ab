import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { Mask, type Rle } from '../lib/index.js'
import {
  componentsByFloodFill,
  filledByFloodFill,
  insideRing,
  ringArea,
  runsByDefinition,
  stringByDefinition,
} from './mask-references.js'

const masks = fc
  .record({ width: fc.integer({ min: 1, max: 24 }), height: fc.integer({ min: 1, max: 24 }) })
  .chain(({ width, height }) =>
    fc
      .tuple(
        fc.array(fc.constantFrom(0, 1), { minLength: width * height, maxLength: width * height }),
        fc.constantFrom(1, 2, 3),
      )
      .map(([bits, coarseness]) => coarsened(new Mask(width, height, Uint8Array.from(bits)), coarseness)),
  )

/** Repeats pixels in blocks, so that holes, runs and regions of more than a pixel are met. */
function coarsened({ width, height, data }: Mask, block: number): Mask {
  const at = (x: number, y: number) => data[(y - (y % block)) * width + (x - (x % block))]!
  return new Mask(
    width,
    height,
    data.map((_, i) => at(i % width, Math.floor(i / width))),
  )
}

function drawn(...rows: string[]): Mask {
  return new Mask(
    rows[0]!.length,
    rows.length,
    Uint8Array.from([...rows.join('')].map((cell) => (cell === '#' ? 1 : 0))),
  )
}

describe('area and bbox', () => {
  it('count the pixels set and give the inclusive box around them', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const set = Array.from(mask.data.entries()).filter(([, value]) => value)
        const xs = set.map(([i]) => i % mask.width)
        const ys = set.map(([i]) => Math.floor(i / mask.width))
        expect(mask.area).toBe(set.length)
        expect(mask.bbox).toEqual(
          set.length ? [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] : null,
        )
      }),
    )
  })

  it('take any non-zero byte as foreground', () => {
    const mask = new Mask(3, 1, Uint8Array.of(0, 255, 7))
    expect(mask.area).toBe(2)
    expect(mask.toRLE({ compressed: false }).counts).toEqual([1, 2])
    expect(mask.bbox).toEqual([1, 0, 2, 0])
  })
})

describe('run-length encoding', () => {
  it('gives the worked examples of the COCO API', () => {
    expect(new Mask(1, 7, Uint8Array.of(0, 0, 1, 1, 1, 0, 1)).toRLE({ compressed: false })).toEqual({
      size: [7, 1],
      counts: [2, 3, 1, 1],
    })
    expect(new Mask(1, 7, Uint8Array.of(1, 1, 1, 1, 1, 1, 0)).toRLE({ compressed: false })).toEqual({
      size: [7, 1],
      counts: [0, 6, 1],
    })
  })

  it('agrees with the definition, compressed and not', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const counts = runsByDefinition(mask)
        expect(mask.toRLE({ compressed: false })).toEqual({ size: [mask.height, mask.width], counts })
        expect(mask.toRLE()).toEqual({ size: [mask.height, mask.width], counts: stringByDefinition(counts) })
      }),
    )
  })

  it('comes back as the same mask', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        expect(Mask.fromRLE(mask.toRLE())).toEqual(mask)
        expect(Mask.fromRLE(mask.toRLE({ compressed: false }))).toEqual(mask)
      }),
    )
  })

  it('equals what pycocotools wrote', () => {
    const { cases } = JSON.parse(readFileSync(new URL('fixtures/rle.json', import.meta.url), 'utf8')) as {
      cases: { size: [number, number]; counts: string; area: number; starts: number[] }[]
    }
    for (const { size, counts, area, starts } of cases) {
      const [height, width] = size
      const pixels = new Uint8Array(width * height)
      starts.forEach((start, i) => {
        pixels.fill((i + 1) % 2, start)
      })
      const mask = new Mask(width, height, pixels)
      expect(mask.toRLE()).toEqual({ size, counts })
      expect(Mask.fromRLE({ size, counts })).toEqual(mask)
      expect(mask.area).toBe(area)
    }
  })

  it('refuses runs that do not fit the size, and strings that are not runs', () => {
    const code = 'INVALID_ARGUMENT'
    expect(() => Mask.fromRLE({ size: [2, 2], counts: [1, 2] })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [2, 2], counts: [-1, 5] })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [2, 2], counts: [1, Number.NaN] })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [2, 2], counts: 'o' })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [2, 2], counts: '\u0001é' })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [2, 0], counts: [] })).toThrow(expect.objectContaining({ code }))
    expect(() => Mask.fromRLE({ size: [1e9, 1e9], counts: [1] })).toThrow(expect.objectContaining({ code }))
  })

  it('refuses what is no RLE', () => {
    for (const rle of [null, {}, 'abc', { size: [2, 2] }, { size: [2, 2, 1], counts: [4] }, { size: 4, counts: [4] }]) {
      expect(() => Mask.fromRLE(rle as unknown as Rle), JSON.stringify(rle)).toThrow(
        expect.objectContaining({ name: 'SegSamError', code: 'INVALID_ARGUMENT' }),
      )
    }
  })

  it('survives any string', () => {
    fc.assert(
      fc.property(fc.string(), (counts) => {
        try {
          Mask.fromRLE({ size: [4, 4], counts })
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
        }
      }),
    )
  })
})

describe('components', () => {
  for (const connectivity of [4, 8] as const) {
    it(`are those of a flood fill, ${connectivity}-connected`, () => {
      fc.assert(
        fc.property(masks, (mask) => {
          expect(mask.components({ connectivity })).toEqual(componentsByFloodFill(mask, connectivity))
        }),
      )
    })
  }

  it('are 8-connected unless told otherwise', () => {
    const diagonal = drawn('#.', '.#')
    expect(diagonal.components().components).toHaveLength(1)
    expect(diagonal.components({ connectivity: 4 }).components).toHaveLength(2)
    expect(() => diagonal.components({ connectivity: 6 as 4 })).toThrow(/4 or 8/)
  })

  it('the largest is kept alone, the first of equals', () => {
    expect(drawn('#.##', '#..#').largestComponent()).toEqual(drawn('..##', '...#'))
    expect(drawn('#.#', '#.#').largestComponent()).toEqual(drawn('#..', '#..'))
    expect(drawn('...').largestComponent()).toEqual(drawn('...'))
  })
})

describe('fillHoles', () => {
  it('fills what a flood from the border does not reach', () => {
    fc.assert(
      fc.property(masks, fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }), (mask, maxArea) => {
        const filled = maxArea === undefined ? mask.fillHoles() : mask.fillHoles({ maxArea })
        expect(filled).toEqual(filledByFloodFill(mask, maxArea ?? Number.POSITIVE_INFINITY))
      }),
    )
  })

  it('does not take a gap at a corner for an opening', () => {
    expect(drawn('.###', '#..#', '####').fillHoles()).toEqual(drawn('.###', '####', '####'))
  })

  it('refuses a negative area', () => {
    expect(() => drawn('#').fillHoles({ maxArea: -1 })).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})

describe('polygons', () => {
  it('run along pixel edges, holes inside the outer ring', () => {
    expect(drawn('....', '.##.', '....').toPolygons()).toEqual([
      {
        outer: [
          [0.5, 0.5],
          [2.5, 0.5],
          [2.5, 1.5],
          [0.5, 1.5],
        ],
        holes: [],
      },
    ])
    const [ring] = drawn('###', '#.#', '###').toPolygons()
    expect(ringArea(ring!.outer)).toBe(9)
    expect(ring!.holes.map(ringArea)).toEqual([-1])
  })

  it('give the mask back when they are filled', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const polygons = mask.toPolygons()
        const filled = mask.data.map((_, i) => {
          const [x, y] = [i % mask.width, Math.floor(i / mask.width)]
          const covering = polygons.filter(
            ({ outer, holes }) => insideRing(outer, x, y) && !holes.some((hole) => insideRing(hole, x, y)),
          )
          expect(covering.length).toBeLessThanOrEqual(1)
          return covering.length
        })
        expect(filled).toEqual(mask.data.map((value) => (value ? 1 : 0)))
      }),
    )
  })

  it('are one for each 4-connected region, of its area, clockwise, without collinear points', () => {
    fc.assert(
      fc.property(masks, (mask) => {
        const polygons = mask.toPolygons()
        const areas = polygons.map(({ outer, holes }) => [outer, ...holes].reduce((sum, r) => sum + ringArea(r), 0))
        const regions = mask.components({ connectivity: 4 }).components.map(({ area }) => area)
        expect(areas.toSorted()).toEqual(regions.toSorted())
        for (const { outer, holes } of polygons) {
          expect(ringArea(outer)).toBeGreaterThan(0)
          for (const hole of holes) expect(ringArea(hole)).toBeLessThan(0)
          for (const ring of [outer, ...holes]) {
            ring.forEach(([x, y], i) => {
              const [beforeX, beforeY] = ring.at(i - 1)!
              const [afterX, afterY] = ring[(i + 1) % ring.length]!
              expect((x - beforeX) * (afterY - y) - (y - beforeY) * (afterX - x)).not.toBe(0)
            })
          }
        }
      }),
    )
  })
})

describe('iou', () => {
  it('is the share of common pixels, 1 for two empty masks', () => {
    expect(drawn('##.').iou(drawn('.##'))).toBeCloseTo(1 / 3)
    expect(drawn('...').iou(drawn('...'))).toBe(1)
    expect(drawn('#..').iou(drawn('...'))).toBe(0)
    expect(() => drawn('###').iou(drawn('#', '#', '#'))).toThrow(/3 x 1/)
    expect(() => drawn('#').iou(null as unknown as Mask)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})

describe('toPNG', () => {
  it('is 8-bit gray, 255 foreground and 0 background', async () => {
    const mask = drawn('#..', '.##')
    const png = await mask.toPNG()
    expect(await sharp(png).metadata()).toMatchObject({ format: 'png', width: 3, height: 2, channels: 1, space: 'b-w' })
    const pixels = await sharp(png).toColourspace('b-w').raw().toBuffer()
    expect([...pixels]).toEqual([255, 0, 0, 0, 255, 255])
  })
})

describe('a new mask', () => {
  it('is checked', () => {
    const code = 'INVALID_ARGUMENT'
    expect(() => new Mask(2, 2, new Uint8Array(3))).toThrow(expect.objectContaining({ code }))
    expect(() => new Mask(0, 2, new Uint8Array(0))).toThrow(expect.objectContaining({ code }))
    expect(() => new Mask(1.5, 2, new Uint8Array(3))).toThrow(expect.objectContaining({ code }))
    expect(() => new Mask(2, 2, [0, 0, 0, 0] as unknown as Uint8Array)).toThrow(expect.objectContaining({ code }))
  })

  it('refuses options that are none', () => {
    const mask = drawn('#')
    for (const options of [null, 'all', { compresed: false }]) {
      const error = expect.objectContaining({ name: 'SegSamError', code: 'INVALID_ARGUMENT' })
      expect(() => mask.toRLE(options as { compressed?: true })).toThrow(error)
      expect(() => mask.components(options as object)).toThrow(error)
      expect(() => mask.fillHoles(options as object)).toThrow(error)
    }
  })

  it('whose buffer is detached later gives an error, not a crash', async () => {
    const mask = drawn('##', '##')
    structuredClone(mask.data.buffer, { transfer: [mask.data.buffer as ArrayBuffer] })
    expect(() => mask.area).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(() => mask.toRLE()).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    await expect(mask.toPNG()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(drawn('##').area).toBe(2)
  })
})
