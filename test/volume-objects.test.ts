import { describe, expect, it } from 'vitest'
import { Call } from '../lib/call.js'
import type { AbsentMark, FollowStep, SegmentVolumeOptions, Volume, VolumePrompt, VoxelMask } from '../lib/index.js'
import { Mask } from '../lib/mask.js'
import type { ModelInfo } from '../lib/model.js'
import { AXES, planeOf } from '../lib/volume/axes.js'
import { checkSegmentation } from '../lib/volume/segmentation.js'
import { innermostPoint } from '../lib/volume-objects/carry.js'
import { checkedRules } from '../lib/volume-objects/options.js'
import { VolumeObjects } from '../lib/volume-objects.js'
import { oblique, perfectModel, type Spoil, straight, volumeOf, voxelsWhere } from './volume-fixture.js'

const shape = [30, 26, 24] as const
const ball = voxelsWhere(shape, (i, j, k) => (i - 9) ** 2 + (j - 12) ** 2 + (k - 11) ** 2 <= 49)
const tube = voxelsWhere(shape, (i, j, k) => (i - 22) ** 2 + (j - 8 - k / 4) ** 2 <= 9 && k >= 3 && k <= 20)
/** Nothing ends an object but its own end. */
const lenient = {
  minArea: 1,
  maxAreaChange: 1e6,
  minOverlap: 0,
  minPredictedIou: 0,
  minAgreement: 0,
  maxIntensityChange: 1e6,
  minClassProbability: 0,
  margin: 0.1,
}

function segment(
  objects: readonly VoxelMask[],
  prompts: readonly VolumePrompt[],
  { volume = volumeOf(shape), spoil, ...options }: SegmentVolumeOptions & { volume?: Volume; spoil?: Spoil } = {},
) {
  const { model, asked } = perfectModel(objects, spoil)
  const settings = {
    volume,
    model: { name: 'perfect' } as ModelInfo,
    axis: options.axis ?? 'z',
    choice: options.window,
    rules: checkedRules(options),
    classes: undefined,
  }
  const found = Call.run(options, (call) => VolumeObjects.found(model, prompts, settings, options.onProgress, call))
  return { found, asked }
}

/** The box around an object on one slice. */
function boxOn(object: VoxelMask, volume: Volume, axis: (typeof AXES)[number], slice: number): VolumePrompt {
  const [x0, y0, x1, y1] = object.slice(planeOf(volume.affine, volume.shape, axis, slice)).bbox!
  return { slice, box: [x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5] }
}

function expectSame(actual: VoxelMask, expected: VoxelMask) {
  expect(actual.origin).toEqual(expected.origin)
  expect(actual.size).toEqual(expected.size)
  expect(Buffer.compare(actual.data, expected.data)).toBe(0)
}

describe('objects that a perfect model draws', () => {
  for (const [name, affine] of Object.entries({ straight, oblique })) {
    it.each(AXES)(`are found to the voxel, ${name}, along %s`, async (axis) => {
      const volume = volumeOf(shape, { affine })
      const middle = (object: VoxelMask) => {
        const normal = planeOf(affine, shape, axis, 0).right.map(
          (step, i) => step || planeOf(affine, shape, axis, 0).down[i],
        )
        const along = normal.indexOf(0)
        return object.origin[along]! + Math.floor(object.size[along]! / 2)
      }
      const prompts = [ball, tube].map((object) => boxOn(object, volume, axis, middle(object)))
      const { segments } = await segment([ball, tube], prompts, { ...lenient, axis, volume }).found
      expectSame(segments[0]!.mask, ball)
      expectSame(segments[1]!.mask, tube)
    })
  }

  it('are found from points, and however the next slice is asked', async () => {
    const prompts = [
      {
        slice: 11,
        points: [
          { x: 9, y: 12 },
          { x: 22, y: 10, label: 0 as const },
        ],
      },
    ]
    for (const carry of [{ carryLogits: true }, { carryPoint: true }, { margin: 0 }, { margin: 3 }]) {
      const { segments } = await segment([ball], prompts, { ...lenient, ...carry }).found
      expectSame(segments[0]!.mask, ball)
    }
  })

  it('may go into files', async () => {
    const { found } = segment([ball, tube], [boxOn(ball, volumeOf(shape), 'z', 11)], lenient)
    const objects = await found
    expect(() => checkSegmentation(objects)).not.toThrow()
    const [object] = objects.segments
    expect(object).toMatchObject({
      name: 'Liver',
      class: { id: 'liver' },
      stops: { low: { reason: 'empty', slice: 3 } },
    })
    expect(object!.predictedIou).toBeCloseTo(0.9, 12)
    expect(object!.probability).toBeCloseTo(0.8, 12)
    expect(object!.millilitres).toBeCloseTo((ball.count * 2) / 1000, 12)
    expect(objects.window).toBe(null)
    expect(objects.rules).toMatchObject({ ...lenient, threshold: 0 })
  })
})

describe('the way through the slices', () => {
  it('encodes each slice once for all objects prompted on one slice, two at a time, and decodes them together', async () => {
    const volume = volumeOf(shape)
    const { found, asked } = segment(
      [ball, tube],
      [boxOn(ball, volume, 'z', 11), boxOn(tube, volume, 'z', 11)],
      lenient,
    )
    await found
    // Up to the first slice where neither is left, and one that was encoded ahead.
    expect(asked.encoded.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 22 }, (_, i) => i + 1))
    expect(asked.mostAlive).toBe(2)
    expect(asked.alive).toBe(0)
    const together = asked.calls.filter(({ prompts }) => prompts.length === 2).map(({ slice }) => slice)
    expect(together).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 10, 9, 8, 7, 6, 5, 4, 3])
    expect(asked.calls.length).toBe(new Set(asked.calls.map(({ slice }) => slice)).size)
  })

  it('carries box, logits and point along', async () => {
    const { found, asked } = segment([ball], [{ slice: 11, points: [{ x: 9, y: 12 }] }], {
      ...lenient,
      margin: 0.2,
      carryLogits: true,
      carryPoint: true,
    })
    await found
    const [first, second] = asked.calls
    expect(first).toMatchObject({ slice: 11, multimask: true, prompts: [{ points: [{ x: 9, y: 12, label: 1 }] }] })
    expect(second).toMatchObject({ slice: 12, multimask: false })
    // The ball is 15 pixels wide on slice 11, of which a fifth is 3.
    expect(second!.prompts[0]!.box).toEqual(
      [2 - 0.5 - 3, 5 - 0.5 - 3, 16 + 0.5 + 3, 19 + 0.5 + 3].map((end) => Math.max(-0.5, end)),
    )
    expect(second!.prompts[0]!.points).toEqual([{ x: 9, y: 12 }])
    expect(second!.prompts[0]!.mask).toBeInstanceOf(Float32Array)
  })

  it('lets objects begin on different slices', async () => {
    const volume = volumeOf(shape)
    const prompts = [boxOn(tube, volume, 'z', 19), boxOn(ball, volume, 'z', 6)]
    const { found, asked } = segment([ball, tube], prompts, lenient)
    const { segments } = await found
    expectSame(segments[0]!.mask, tube)
    expectSame(segments[1]!.mask, ball)
    for (const slice of asked.encoded)
      expect(asked.encoded.filter((each) => each === slice).length).toBeLessThanOrEqual(2)
    expect(asked.mostAlive).toBe(2)
  })

  it('tells of every slice, with the object there', async () => {
    const steps: FollowStep[] = []
    const { found } = segment([ball], [boxOn(ball, volumeOf(shape), 'z', 17)], {
      ...lenient,
      onProgress: (step) => steps.push(step),
    })
    const { segments } = await found
    expect(steps.map(({ slice }) => slice)).toEqual([17, 18, 19, ...Array.from({ length: 14 }, (_, i) => 16 - i)])
    expect(steps[2]).toMatchObject({ object: 0, found: null, following: 0, stop: { reason: 'empty', value: 0 } })
    expect(steps[1]!.found!.mask.data).toEqual(segments[0]!.slices.at(-1)!.mask.data)
  })

  it('ends with what onProgress throws, and frees the scenes', async () => {
    const { found, asked } = segment([ball], [boxOn(ball, volumeOf(shape), 'z', 11)], {
      ...lenient,
      onProgress: ({ slice }) => {
        if (slice === 14) throw new Error('enough')
      },
    })
    await expect(found).rejects.toThrow('enough')
    expect(asked.alive).toBe(0)
  })
})

describe('an object ends', () => {
  const onSlice = (at: number, change: (hit: Parameters<Spoil>[0]['hit']) => object): Spoil => {
    return ({ slice, hit }) => (slice === at ? change(hit) : {})
  }
  const moved = (dx: number) => (hit: { mask: Mask }) => {
    const { width, height, data } = hit.mask
    return {
      mask: new Mask(
        width,
        height,
        Uint8Array.from(data, (_, at) => data[at - dx] ?? 0),
      ),
    }
  }
  const grown = (times: number) => (hit: { mask: Mask }) => {
    const { width, height, data, area } = hit.mask
    let left = (times - 1) * area
    return {
      mask: new Mask(
        width,
        height,
        Uint8Array.from(data, (value) => (value || left-- > 0 ? 1 : 0)),
      ),
    }
  }
  const cases: [string, SegmentVolumeOptions, Spoil | undefined, object][] = [
    ['minArea', { minArea: 50 }, undefined, { reason: 'minArea', slice: 17 }],
    ['maxAreaChange', { maxAreaChange: 2 }, onSlice(14, grown(2.5)), { reason: 'maxAreaChange', slice: 14 }],
    ['minOverlap', { minOverlap: 0.5 }, onSlice(14, moved(5)), { reason: 'minOverlap', slice: 14 }],
    ['touching', {}, onSlice(14, moved(16)), { reason: 'empty', slice: 14 }],
    [
      'minPredictedIou',
      { minPredictedIou: 0.5 },
      onSlice(14, () => ({ predictedIou: 0.4 })),
      { reason: 'minPredictedIou', slice: 14, value: 0.4 },
    ],
    [
      'minAgreement',
      { minAgreement: 0.5 },
      onSlice(14, () => ({ agreement: 0.39 })),
      { reason: 'minAgreement', slice: 14, value: 0.39 },
    ],
    ['maxIntensityChange', { maxIntensityChange: 0 }, undefined, { reason: 'maxIntensityChange', slice: 12 }],
    ['sameClass', { sameClass: true }, onSlice(14, () => ({ label: null })), { reason: 'sameClass', slice: 14 }],
    ['maxSlices', { maxSlices: 2 }, undefined, { reason: 'maxSlices', slice: 14, value: null }],
  ]
  it.each(cases)('by %s', async (_, options, spoil, stop) => {
    const volume = volumeOf(shape)
    const { found } = segment([ball], [boxOn(ball, volume, 'z', 11)], {
      ...lenient,
      ...options,
      ...(spoil && { spoil }),
    })
    const [object] = (await found).segments
    expect(object!.stops!.high).toMatchObject(stop)
    expect(object!.slices.at(-1)!.slice).toBe(object!.stops!.high.slice - 1)
    const without = await segment([ball], [boxOn(ball, volume, 'z', 11)], {
      ...lenient,
      touching: false,
      ...(spoil && { spoil }),
    }).found
    expect(without.segments[0]!.stops!.high).toMatchObject({ reason: 'empty', slice: 19 })
  })

  describe('by minClassProbability', () => {
    const rod = voxelsWhere(shape, (i, j, k) => (i - 14) ** 2 + (j - 12) ** 2 <= 25 && k > 3 && k < 19)
    const gray = (at: number, k: number, change: number) => 100 + 20 * (at % 2) + (k < 14 ? 0 : change)
    const volumeWith = (change: number) =>
      volumeOf(shape, {
        data: Uint8Array.from({ length: 30 * 26 * 24 }, (_, at) => gray(at, Math.floor(at / 780), change)),
      })
    /** From slice 14 on the class of the prompt, probable to 0.8 there, is one of the others. */
    const stopWith = async (change: number, probability: number, options: SegmentVolumeOptions = {}) => {
      const liver = { id: 'liver', name: 'Liver', probability, codes: [] }
      const spleen = { id: 'spleen', name: 'Spleen', probability: 0.5, codes: [] }
      const volume = volumeWith(change)
      const { found } = segment([rod], [boxOn(rod, volume, 'z', 11)], {
        ...lenient,
        minClassProbability: 0.1,
        volume,
        spoil: ({ slice }) => (slice >= 14 ? { label: spleen, candidates: [liver] } : {}),
        ...options,
      })
      return (await found).segments[0]!
    }

    it('where its class is lost and the image under it changes', async () => {
      // The deviation of the pattern is 10.
      const { stops, slices } = await stopWith(5, 0.07)
      expect(stops!.high).toEqual({ reason: 'minClassProbability', slice: 14, value: 0.07 })
      expect(slices.map(({ classProbability }) => classProbability)).toEqual(slices.map(() => 0.8))
    })

    it.each([
      ['only the class is lost', 2, 0.07, {}],
      ['only the image changes', 5, 0.09, {}],
      ['it is switched off', 5, 0, { minClassProbability: 0 }],
    ] as const)('but not where %s', async (_, change, probability, options) => {
      const { stops, slices } = await stopWith(change, probability, options)
      expect(stops!.high).toMatchObject({ reason: 'empty', slice: 19 })
      expect(slices.at(-1)!.classProbability).toBe(probability)
    })

    it('and never where the prompt was not named', async () => {
      const unnamed: Spoil = () => ({ label: null })
      const { stops, slices } = await stopWith(5, 0, { spoil: unnamed } as SegmentVolumeOptions)
      expect(stops!.high).toMatchObject({ reason: 'empty', slice: 19 })
      expect(slices.every(({ classProbability }) => classProbability === null)).toBe(true)
    })
  })

  it('at the end of the volume', async () => {
    const all = voxelsWhere(shape, (i, j) => i > 4 && i < 20 && j > 3 && j < 9)
    const [object] = (await segment([all], [boxOn(all, volumeOf(shape), 'z', 23)], lenient).found).segments
    expectSame(object!.mask, all)
    expect(object!.stops).toMatchObject({ low: { reason: 'end', slice: -1 }, high: { reason: 'end', slice: 24 } })
  })

  it('before it has begun, where its prompt finds nothing', async () => {
    const { found, asked } = segment([ball], [{ slice: 5, box: [25, 20, 28, 24] }], lenient)
    const [object] = (await found).segments
    expect(object).toMatchObject({ name: 'Object 1', class: null, predictedIou: null, slices: [] })
    expect(object!.mask.count).toBe(0)
    expect(asked.calls.length).toBe(1)
  })
})

describe('a correction', () => {
  const volume = volumeOf(shape)
  const all = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

  /** The ball, which one slice makes the model lose: from 14 on it draws the tube. */
  async function lost() {
    const { found, asked } = segment([ball, tube], [boxOn(ball, volume, 'z', 11), boxOn(tube, volume, 'z', 11)], {
      ...lenient,
      touching: false,
      spoil: ({ slice, prompt, object }) =>
        slice === 14 && !prompt.points && object === 0 ? { mask: tube.slice(planeOf(straight, shape, 'z', 14)) } : {},
    })
    return { objects: await found, asked }
  }

  it('follows the object anew from its slice on both sides, and no other', async () => {
    const { objects, asked } = await lost()
    expect(objects.segments[0]!.mask.has([22, 12, 16])).toBe(true)
    asked.encoded.length = 0
    asked.calls.length = 0
    const fixed = await objects.correct(0, { slice: 14, points: [{ x: 9, y: 12 }], box: [2, 5, 16, 19] })
    expectSame(fixed.segments[0]!.mask, ball)
    expect(fixed.segments[1]).toBe(objects.segments[1])
    // From 14 up to the end of the ball, and down to the prompted slice 11, which is not looked at.
    expect(asked.calls.map(({ slice }) => slice)).toEqual([14, 15, 16, 17, 18, 19, 13, 12])
    expect(asked.calls.every(({ prompts }) => prompts.length === 1)).toBe(true)
    // One more than these was encoded ahead.
    expect(asked.encoded).toEqual([14, 15, 16, 17, 18, 19, 20, 13, 12])
    expect(asked.alive).toBe(0)
    expect(fixed.segments[0]!.prompts.map(({ slice }) => slice)).toEqual([11, 14])
    expect(fixed.segments[0]!.slices.map(({ from }) => from)).toEqual([...all(4, 11).fill(11), ...all(12, 18).fill(14)])
  })

  it('leaves what it was made from as it was', async () => {
    const { objects } = await lost()
    const before = objects.segments[0]!.mask.count
    await objects.correct(0, { slice: 14, absent: true })
    expect(objects.segments[0]!.mask.count).toBe(before)
    expect(objects.segments[0]!.prompts.length).toBe(1)
  })

  it('with absent cuts the object, without looking at a slice', async () => {
    const { objects, asked } = await lost()
    asked.encoded.length = 0
    const cut = await objects.correct(0, { slice: 14, absent: true })
    expect(asked.encoded).toEqual([])
    expect(cut.segments[0]!.slices.map(({ slice }) => slice)).toEqual(all(4, 13))
    expect(cut.segments[0]!.stops!.high).toEqual({ reason: 'prompt', slice: 14, value: null })
    expect(cut.segments[0]!.prompts.at(-1)).toEqual({ slice: 14, absent: true })
    const gone = await cut.correct(0, { slice: 11, absent: true })
    expect(gone.segments[0]).toMatchObject({ slices: [], stops: null })
  })

  it('by points refines the mask of its slice, with the points before', async () => {
    const { objects, asked } = await lost()
    asked.calls.length = 0
    const once = await objects.correct(0, { slice: 12, points: [{ x: 9, y: 12 }] })
    expect(asked.calls[0]).toMatchObject({ multimask: false, prompts: [{ points: [{ x: 9, y: 12, label: 1 }] }] })
    expect(asked.calls[0]!.prompts[0]!.mask).toBeInstanceOf(Float32Array)
    asked.calls.length = 0
    const twice = await once.correct(0, { slice: 12, points: [{ x: 20, y: 3, label: 0 }] })
    expect(asked.calls[0]!.prompts[0]!.points).toHaveLength(2)
    expect(twice.segments[0]!.prompts.map(({ slice }) => slice)).toEqual([11, 12])
    asked.calls.length = 0
    await twice.correct(0, { slice: 12, box: [2, 5, 16, 19] })
    expect(asked.calls[0]!.prompts[0]).not.toHaveProperty('mask')
  })

  it('between two prompted slices keeps what was followed from the other one beyond the place where it ends', async () => {
    // The object is drawn on no slice below 9 unless it is followed from 5.
    const { found } = segment([ball], [boxOn(ball, volume, 'z', 11)], {
      ...lenient,
      spoil: ({ slice, prompt }) =>
        slice === 8 && !prompt.points ? { mask: new Mask(30, 26, new Uint8Array(780)) } : {},
    })
    const objects = await found
    expect(objects.segments[0]!.slices[0]!.slice).toBe(9)
    const both = await objects.correct(0, { slice: 5, points: [{ x: 9, y: 12 }] })
    expect(both.segments[0]!.slices.map(({ slice }) => slice)).toEqual([...all(4, 7), ...all(9, 18)])
    expect(both.segments[0]!.slices.map(({ from }) => from)).toEqual([...all(4, 7).fill(5), ...all(9, 18).fill(11)])
    const closed = await both.correct(0, { slice: 8, points: [{ x: 9, y: 12 }] })
    expectSame(closed.segments[0]!.mask, ball)
  })

  it.each<[unknown, object, RegExp]>([
    [2, { slice: 3, absent: true }, /object is 2; allowed: 0 to 1/],
    [0, { slice: 24, absent: true }, /correction\.slice is 24; allowed: 0 to 23/],
    [0, { slice: 3 }, /a box, or points/],
    [0, { slice: 3, points: [{ x: 40, y: 1 }] }, /x of correction\.points\[0\] is 40/],
    [0, { slice: 3, absent: true, box: [1, 2, 3, 4] }, /has box; allowed: slice, absent/],
  ])('of %j by %j is refused', async (object, correction, message) => {
    const { objects } = await lost()
    await expect(objects.correct(object as number, correction as AbsentMark)).rejects.toThrow(message)
  })
})

describe('the innermost point', () => {
  it('is the farthest from the outline in steps to four neighbours', () => {
    const rows = ['.......', '.###...', '.####..', '.###...', '.##....', '.##....', '.......']
    const mask = new Mask(
      7,
      7,
      Uint8Array.from(rows.join(''), (char) => (char === '#' ? 1 : 0)),
    )
    expect(innermostPoint(mask)).toEqual({ x: 2, y: 2 })
    expect(innermostPoint(new Mask(3, 2, new Uint8Array(6).fill(1)))).toEqual({ x: 0, y: 0 })
  })
})
