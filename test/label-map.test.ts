import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { FoundObject, type FoundObjectFields } from '../lib/everything/found-object.js'
import { type ClassCard, type LabelMap, Mask, type RegionRulesByClass, readImage, SegSam } from '../lib/index.js'
import { classColour } from '../lib/label-map/colours.js'
import { type Claim, merged } from '../lib/label-map/merge.js'
import { checkedRules } from '../lib/label-map/regions.js'
import { labelMapOf } from '../lib/label-map.js'
import { copiedBundle, discImage, editJson, untrainedBundle } from './fixture.js'

const asTheyAre = () => ({ minArea: 1, largestComponent: false, fillHoles: false })

function claimOf(mask: Mask, rest: Omit<Claim, 'counts' | 'area'>): Claim {
  return { counts: Uint32Array.from(mask.toRLE({ compressed: false }).counts), area: mask.area, ...rest }
}

function drawn(...rows: string[]): Mask {
  return new Mask(
    rows[0]!.length,
    rows.length,
    Uint8Array.from([...rows.join('')].map((cell) => (cell === '#' ? 1 : 0))),
  )
}

interface Overlapping {
  size: { width: number; height: number }
  masks: Mask[]
  claims: Claim[]
}

/** Rectangles over one another, of four classes or none; the last class is countable where that is wanted. */
function overlapping(countable: boolean): fc.Arbitrary<Overlapping> {
  return fc
    .record({ width: fc.integer({ min: 1, max: 14 }), height: fc.integer({ min: 1, max: 14 }) })
    .chain((size) => {
      const side = (length: number) => fc.tuple(fc.nat(length - 1), fc.nat(length - 1))
      const one = fc.record({
        xs: side(size.width),
        ys: side(size.height),
        classIndex: fc.constantFrom(null, 0, 1, 2, 3),
        evidence: fc.constantFrom(0, 0.25, 0.5, 0.75, 1),
      })
      return fc.array(one, { maxLength: 8 }).map((rectangles) => {
        const masks = rectangles.map(({ xs, ys }) => rectangle(size, xs, ys))
        const claims = rectangles.map(({ classIndex, evidence }, i) =>
          claimOf(masks[i]!, { classIndex, evidence, countable: countable && classIndex === 3 }),
        )
        return { size, masks, claims }
      })
    })
}

function rectangle({ width, height }: Overlapping['size'], xs: number[], ys: number[]): Mask {
  const inside = (value: number, ends: number[]) => value >= Math.min(...ends) && value <= Math.max(...ends)
  const data = Uint8Array.from({ length: width * height }, (_, i) =>
    inside(i % width, xs) && inside(Math.floor(i / width), ys) ? 1 : 0,
  )
  return new Mask(width, height, data)
}

describe('overlapping masks', () => {
  it('share out every pixel: to the class with the most evidence there, to no class only where none claims it', () => {
    fc.assert(
      fc.property(overlapping(false), ({ size, masks, claims }) => {
        const { owner, groups } = merged(size, claims, asTheyAre)
        for (const [pixel, number] of owner.entries()) {
          const here = claims.filter((_, i) => masks[i]!.data[pixel])
          const named = here.filter((claim) => claim.classIndex !== null)
          const most = Math.max(...named.map(({ evidence }) => evidence))
          const winners = named.filter(({ evidence }) => evidence === most)
          if (here.length === 0) expect(number).toBe(0)
          else if (named.length === 0) expect(groups[number - 1]!.classIndex).toBeNull()
          else expect(winners.map(({ classIndex }) => classIndex)).toContain(groups[number - 1]!.classIndex)
        }
        for (const [i, { area }] of groups.entries())
          expect(owner.filter((number) => number === i + 1)).toHaveLength(area)
      }),
    )
  })

  it('are shared out in the same way whatever their order', () => {
    const shuffled = overlapping(true).chain((scene) =>
      fc
        .shuffledSubarray(scene.claims, { minLength: scene.claims.length })
        .map((claims) => ({ ...scene, other: claims })),
    )
    fc.assert(
      fc.property(shuffled, ({ size, claims, other }) => {
        expect(merged(size, other, asTheyAre)).toEqual(merged(size, claims, asTheyAre))
      }),
    )
  })

  it('of the same evidence and area are told apart by where they lie', () => {
    const rest = { classIndex: 0, countable: true, evidence: 0.5 }
    const claims = [claimOf(drawn('.###..'), rest), claimOf(drawn('..###.'), rest)]
    const size = { width: 6, height: 1 }
    expect(merged(size, claims.toReversed(), asTheyAre)).toEqual(merged(size, claims, asTheyAre))
  })

  it('of a countable class stay objects of their own, but those mostly covered by others', () => {
    const rest = { classIndex: 0, countable: true }
    const [left, right] = [drawn('####....'), drawn('...#####')]
    const repeated = drawn('#####...')
    const claims = [
      claimOf(left, { ...rest, evidence: 0.75 }),
      claimOf(right, { ...rest, evidence: 0.5 }),
      claimOf(repeated, { ...rest, evidence: 0.25 }),
    ]
    const { owner, groups } = merged({ width: 8, height: 1 }, claims, asTheyAre)
    expect([...owner]).toEqual([2, 2, 2, 2, 3, 3, 3, 3])
    expect(groups.map(({ area, confidence }) => [area, confidence])).toEqual([
      [0, 0],
      [4, 0.75],
      [4, 0.5],
    ])
    const alone = merged({ width: 8, height: 1 }, [claims[0]!, claims[2]!], asTheyAre)
    expect([...alone.owner]).toEqual([2, 2, 2, 2, 0, 0, 0, 0])
  })
})

describe('the regions of a class', () => {
  const { cases } = JSON.parse(readFileSync(new URL('fixtures/regions.json', import.meta.url), 'utf8')) as {
    cases: {
      width: number
      height: number
      mask: string
      filled: string
      minArea: number
      withoutSmall: string
      largest: string
    }[]
  }
  const bits = (text: string) => [...text].map((cell) => (cell === '#' ? 1 : 0))

  it('are cleaned as scipy does it', () => {
    for (const { width, height, mask, filled, minArea, withoutSmall, largest } of cases) {
      const claim = claimOf(new Mask(width, height, Uint8Array.from(bits(mask))), {
        classIndex: 0,
        countable: false,
        evidence: 1,
      })
      const cleaned = (rules: object) => {
        const { owner } = merged({ width, height }, [claim], (index) => ({
          ...asTheyAre(),
          ...(index === 0 && rules),
        }))
        return [...owner].map((number) => (number === 2 ? 1 : 0))
      }
      expect(cleaned({ fillHoles: true })).toEqual(bits(filled))
      expect(cleaned({ minArea })).toEqual(bits(withoutSmall))
      expect(cleaned({ largestComponent: true })).toEqual(bits(largest))
    }
  })

  it('give what they drop to nobody, and do not fill over another class', () => {
    const ring = drawn('#####', '#...#', '#####', '.....', '#....')
    const dot = drawn('.....', '.#...', '.....', '.....', '.....')
    const claims = [
      claimOf(ring, { classIndex: 0, countable: false, evidence: 1 }),
      claimOf(dot, { classIndex: 1, countable: false, evidence: 0.5 }),
    ]
    const rules = (index: number | null) => ({
      minArea: 1,
      largestComponent: index === 0,
      fillHoles: index === 0,
    })
    const { owner, groups } = merged({ width: 5, height: 5 }, claims, rules)
    const classes = [...owner].map((number) => (number === 0 ? '.' : (groups[number - 1]!.classIndex ?? '?'))).join('')
    expect(classes.match(/.{5}/g)).toEqual(['00000', '01000', '00000', '.....', '?....'])
  })

  it('are one without holes where the rules say so, whatever the masks', () => {
    const rules = () => ({ minArea: 1, largestComponent: true, fillHoles: true })
    fc.assert(
      fc.property(overlapping(true), ({ size, claims }) => {
        const { owner, groups } = merged(size, claims, rules)
        for (const [i, { area, classIndex }] of groups.entries()) {
          if (area === 0) continue
          const mask = new Mask(
            size.width,
            size.height,
            Uint8Array.from(owner, (number) => (number === i + 1 ? 1 : 0)),
          )
          expect(mask.components().components).toHaveLength(1)
          const holes = mask.fillHoles().data.map((value, pixel) => (value && !mask.data[pixel] ? 1 : 0))
          const filler = owner.filter((_, pixel) => holes[pixel])
          // What is left in a hole is another class's.
          if (classIndex !== null) expect(filler.every((number) => number > 1)).toBe(true)
        }
      }),
    )
  })
})

describe('rules', () => {
  const cards = [card('a'), card('b')]

  it('hold for their class, those under * for the others and for unknown', () => {
    const rules = checkedRules({ '*': { fillHoles: true }, b: { minArea: 5 } }, cards)
    expect(rules.get('a')).toEqual({ minArea: 1, largestComponent: false, fillHoles: true })
    expect(rules.get('b')).toEqual({ minArea: 5, largestComponent: false, fillHoles: false })
    expect(rules.get('unknown')).toEqual(rules.get('a'))
  })

  it.each([
    [[], 'INVALID_ARGUMENT'],
    [{ liver: {} }, 'UNKNOWN_CLASS'],
    [{ a: { minArea: 0 } }, 'INVALID_ARGUMENT'],
    [{ a: { fillHole: true } }, 'INVALID_ARGUMENT'],
    [{ a: true }, 'INVALID_ARGUMENT'],
    [{ '*': { largestComponent: 'yes' } }, 'INVALID_ARGUMENT'],
  ])('refuse %j', (regions, code) => {
    expect(() => checkedRules(regions as RegionRulesByClass, cards)).toThrow(expect.objectContaining({ code }))
  })
})

describe('a label map', () => {
  it('has the values of the classes in their order, their pixels and confidence, and the objects that count', () => {
    const cards = [card('a'), card('cell', true), card('b')]
    const map = mapOf(cards, [
      found(drawn('##....', '##....'), { id: 'a', probability: 0.5, predictedIou: 0.5, agreement: 1 }),
      found(drawn('...##.', '......'), { id: 'cell', probability: 1, predictedIou: 2, agreement: 0.5 }),
      found(drawn('......', '...##.'), { id: 'cell', probability: 1, predictedIou: 0.5, agreement: 0.5 }),
      found(drawn('.....#', '.....#'), { id: null }),
      found(drawn('..#...', '..#...'), { id: 'b', probability: 0.1, predictedIou: 0.1, agreement: 0.1 }),
    ])
    expect([...map.data]).toEqual([1, 1, 255, 2, 2, 255, 1, 1, 255, 2, 2, 255])
    expect([...map.instanceData]).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2, 0])
    expect(map.classes).toEqual([
      { value: 1, id: 'a', name: 'A', codes: [], countable: false, area: 4, confidence: 0.25 },
      { value: 2, id: 'cell', name: 'CELL', codes: [], countable: true, area: 4, confidence: 0.375 },
      { value: 255, id: 'unknown', name: 'Unknown', codes: [], countable: false, area: 4, confidence: null },
    ])
    expect(map.instances).toEqual([
      { number: 1, value: 2, area: 2, bbox: [3, 0, 4, 0], confidence: 0.5 },
      { number: 2, value: 2, area: 2, bbox: [3, 1, 4, 1], confidence: 0.25 },
    ])
    expect(map.labelReason).toBeNull()
    expect(map.mask(2)).toEqual(drawn('...##.', '...##.'))
    expect(map.instanceMask(2)).toEqual(drawn('......', '...##.'))
    expect(map.mask(7).area).toBe(0)
    expect(() => map.mask('a' as unknown as number)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  it('is written as a gray PNG, 16 bits deep where the classes need it', async () => {
    const few = mapOf([card('a')], [found(drawn('#.'), { id: 'a' })])
    const many = Array.from({ length: 300 }, (_, i) => card(`c${i}`, i === 299))
    const wide = mapOf(many, [found(drawn('#..'), { id: 'c299' }), found(drawn('..#'), { id: null })])
    expect(few.data).toBeInstanceOf(Uint8Array)
    expect([...wide.data]).toEqual([300, 0, 65535])
    for (const [png, values, depth] of [
      [await few.toPNG(), [1, 0], 'uchar'],
      [await wide.toPNG(), [300, 0, 65535], 'ushort'],
      [await wide.toInstancePNG(), [1, 0, 0], 'ushort'],
    ] as const) {
      expect(await sharp(png).metadata()).toMatchObject({ format: 'png', channels: 1, depth })
      const { data } = await readImage(png)
      expect([...data]).toEqual(values)
    }
  })

  it('of nothing is background, with a reason', () => {
    const map = mapOf([card('a')], [], { width: 3, height: 2 })
    expect([...map.data]).toEqual([0, 0, 0, 0, 0, 0])
    expect(map).toMatchObject({ classes: [], instances: [], labelReason: 'nothing' })
  })
})

describe('a scene', () => {
  const lenient = { pointsPerSide: 5, multimask: true, boxNmsThresh: 1, diceThresh: 0, minEvidence: 0 }

  it('of an untrained bundle has only unknown', async () => {
    using model = await SegSam.load(await untrainedBundle(), { device: 'cpu' })
    using scene = await model.encode(discImage(40, 30))
    const map = await scene.labelMap(lenient)
    expect(map.labelReason).toBe('untrained')
    expect(map.classes.map(({ id }) => id)).toEqual(['unknown'])
    expect(new Set(map.data)).toEqual(new Set(map.data.includes(0) ? [0, 255] : [255]))
  })

  it('has one label a pixel of the classes asked for, countable as their cards say', async () => {
    const trained = await copiedBundle()
    await editJson(join(trained, 'classes.json'), ({ classes }) => {
      for (const each of classes) each.countable = true
    })
    using model = await SegSam.load(trained, { device: 'cpu' })
    expect(model.classes[0]!.countable).toBe(true)
    using scene = await model.encode(discImage(40, 30))
    const map = await scene.labelMap({ ...lenient, classes: ['bar', 'ring'], regions: { '*': { fillHoles: true } } })
    expect(map.data).toHaveLength(40 * 30)
    const areas = map.classes.map(({ value, area }) => [value, area])
    for (const [value, area] of areas) expect(map.mask(value!).area).toBe(area)
    const covered = areas.reduce((sum, [, area]) => sum + area!, 0)
    expect(covered).toBeGreaterThan(0)
    expect(map.data.filter((value) => value > 0)).toHaveLength(covered)
    for (const { number, area, bbox, value } of map.instances) {
      expect(map.instanceMask(number)).toMatchObject({ area, bbox })
      expect([1, 2]).toContain(value)
    }
    await expect(scene.labelMap({ ...lenient, regions: { disc_left: {} }, classes: ['ring'] })).rejects.toMatchObject({
      code: 'UNKNOWN_CLASS',
    })
  })

  const shipped = fileURLToPath(new URL('../models/seg-sam-tiny', import.meta.url))
  it.skipIf(!existsSync(join(shipped, 'manifest.json')))('of a brain has more than one class', async () => {
    using model = await SegSam.load(shipped, { device: 'cpu' })
    const slice = fileURLToPath(new URL('../examples/images/mni152_axial_z8.png', import.meta.url))
    using scene = await model.encode(await readImage(slice))
    const { classes, labelReason } = await scene.labelMap({ pointsPerSide: 16 })
    expect(labelReason).toBeNull()
    expect(classes.filter(({ confidence }) => confidence !== null).length).toBeGreaterThan(1)
  })
})

describe('colours', () => {
  it('are the same for the same value, and differ among neighbours', () => {
    const colours = Array.from({ length: 254 }, (_, i) => classColour(i + 1, false))
    expect(new Set(colours).size).toBe(254)
    for (const colour of colours) expect(colour).toMatch(/^#[0-9A-F]{6}$/)
    expect(classColour(255, true)).toBe(classColour(65535, true))
  })
})

function card(id: string, countable?: boolean): ClassCard {
  return { id, name: id.toUpperCase(), sentences: [], ...(countable !== undefined && { countable }) }
}

function found(
  mask: Mask,
  {
    id,
    probability = 1,
    predictedIou = 1,
    agreement = 1,
  }: { id: string | null; probability?: number; predictedIou?: number; agreement?: number },
): FoundObject {
  const label = id === null ? null : { id, name: id, probability, codes: [] }
  const fields: FoundObjectFields = {
    area: mask.area,
    bbox: mask.bbox!,
    predictedIou,
    agreement,
    stabilityScore: 1,
    point: { x: 0, y: 0 },
    cropBox: [0, 0, mask.width - 1, mask.height - 1],
    label,
    labelReason: label ? null : 'nothing',
    candidates: [],
  }
  return new FoundObject(mask, Uint32Array.from(mask.toRLE({ compressed: false }).counts), fields)
}

function mapOf(cards: ClassCard[], objects: FoundObject[], size?: { width: number; height: number }): LabelMap {
  const settings = { rules: checkedRules({}, cards), minEvidence: 0.1, semantic: 'trained' as const }
  return labelMapOf(size ?? objects[0]!, objects, cards, settings)
}
