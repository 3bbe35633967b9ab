import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Call } from '../lib/call.js'
import { SegSam, type VoxelMask } from '../lib/index.js'
import { type LabelledClass, LabelMap } from '../lib/label-map.js'
import type { ModelInfo } from '../lib/model.js'
import { AXES } from '../lib/volume/axes.js'
import { voxelComponents } from '../lib/volume/components.js'
import { checkSegmentation } from '../lib/volume/segmentation.js'
import type { Volume, VolumeSlice } from '../lib/volume.js'
import { checkedConsistency, type LabelVolumeOptions } from '../lib/volume-label-map/options.js'
import { smoothedSlice } from '../lib/volume-label-map/smooth.js'
import { VolumeLabelMap } from '../lib/volume-label-map.js'
import { bundle } from './fixture.js'
import { oblique, volumeOf, voxelsWhere } from './volume-fixture.js'

const shape = [20, 18, 16] as const
const liver = voxelsWhere(shape, (i, j, k) => i > 2 && i < 12 && j > 4 && j < 12 && k > 2 && k < 13)
const cells = voxelsWhere(
  shape,
  (i, j, k) => (i > 13 && i < 17 && j < 4 && k < 4) || (i > 13 && i < 17 && j > 9 && k > 9),
)

interface Truth {
  value: number
  mask: VoxelMask
  countable?: boolean
}

/** Labels slices as they truly are. */
function label(truths: readonly Truth[], options: LabelVolumeOptions = {}, volume = volumeOf(shape)) {
  const { consistency } = checkedConsistency(options)
  const { axis = 'z', onProgress } = options
  const settings = { volume, model: { name: 'perfect' } as ModelInfo, axis, choice: undefined, consistency, onProgress }
  const labelled = async ({ width, height, plane }: VolumeSlice) => {
    const data = new Uint8Array(width * height)
    const classes = truths.flatMap(({ value, mask, countable = false }): LabelledClass[] => {
      const part = mask.slice(plane)
      for (const [at, isSet] of part.data.entries()) if (isSet) data[at] = value
      if (part.area === 0) return []
      const known = value !== 255
      const confidence = known ? 0.1 * value : null
      return [
        {
          value,
          id: known ? `class-${value}` : 'unknown',
          name: `Class ${value}`,
          codes: [],
          countable,
          area: part.area,
          confidence,
        },
      ]
    })
    const instances = { instanceData: new Uint16Array(data.length), instances: [] }
    return new LabelMap({ width, height, data, classes, ...instances, labelReason: null })
  }
  return Call.run(options, (call) => VolumeLabelMap.made(labelled, settings, call))
}

function expectSame(actual: VoxelMask, expected: VoxelMask) {
  expect(actual.origin).toEqual(expected.origin)
  expect(actual.size).toEqual(expected.size)
  expect(Buffer.compare(actual.data, expected.data)).toBe(0)
}

describe('connected regions of voxels', () => {
  const cases: { size: [number, number, number]; data: number[]; labels: number[]; counts: number[] }[] = JSON.parse(
    readFileSync(new URL('fixtures/components.json', import.meta.url), 'utf8'),
  )
  it.each(cases.map((each, i) => [i, each] as const))("are scipy's, volume %i", (_, { size, data, labels, counts }) => {
    const found = voxelComponents({ size, data: Uint8Array.from(data) })
    expect(found.counts).toEqual(counts)
    expect([...found.labels]).toEqual(labels)
  })
})

describe('a label map of a volume', () => {
  it.each(AXES)('puts slices of an oblique volume together, along %s', async (axis) => {
    const volume = volumeOf(shape, { affine: oblique })
    const map = await label(
      [
        { value: 3, mask: liver },
        { value: 5, mask: cells },
      ],
      { axis },
      volume,
    )
    expectSame(map.mask(3), liver)
    expectSame(map.mask(5), cells)
    expect(map.mask(4).count).toBe(0)
  })

  it('tells of each class what it holds', async () => {
    const steps: number[] = []
    const map = await label(
      [
        { value: 3, mask: liver },
        { value: 5, mask: cells },
      ],
      {
        onProgress: ({ done, total }) => steps.push(done / total),
      },
    )
    expect(map.classes.map(({ id, voxels }) => [id, voxels])).toEqual([
      ['class-3', liver.count],
      ['class-5', cells.count],
    ])
    expect(map.classes[0]!.millilitres).toBeCloseTo((liver.count * 2) / 1000, 12)
    expect(map.classes[1]!.confidence).toBeCloseTo(0.5, 12)
    expect(map).toMatchObject({ labelReason: null, window: null, axis: 'z' })
    expect(steps).toEqual(Array.from({ length: 16 }, (_, i) => (i + 1) / 16))
  })

  it('drops what is on one slice only, unless slices are taken as they are', async () => {
    const flicker = voxelsWhere(shape, (i, j, k) => i > 2 && i < 6 && j > 5 && j < 9 && k === 7)
    const truths = [
      { value: 3, mask: liver },
      { value: 4, mask: flicker },
    ]
    const map = await label(truths)
    expect(map.classes.map(({ value }) => value)).toEqual([3])
    expectSame(map.mask(3), liver)
    expectSame((await label(truths, { smoothing: 0 })).mask(4), flicker)
  })

  it('keeps the largest region of a class, and those that hold enough', async () => {
    const truths = [{ value: 5, mask: cells }]
    const largest = await label(truths, { largestRegion: true })
    expect(largest.mask(5).count).toBe(3 * 8 * 6)
    expect(largest.mask(255).count).toBe(3 * 4 * 4)
    expect(largest.classes.at(-1)).toMatchObject({ value: 255, id: 'unknown', confidence: null })
    expect((await label(truths, { minMillilitres: 0.097 })).mask(5).count).toBe(3 * 8 * 6)
    expect((await label(truths, { minMillilitres: 0.096 })).mask(5).count).toBe(cells.count)
    expect(await label(truths, { minMillilitres: 1 })).toMatchObject({ labelReason: 'nothing' })
  })

  it('becomes segments: one a class, one a region of a countable class', async () => {
    const rest = voxelsWhere(shape, (i, _, k) => i === 19 && k > 3)
    const map = await label([
      { value: 3, mask: liver },
      { value: 5, mask: cells, countable: true },
      { value: 255, mask: rest },
    ])
    const segmentation = map.toSegmentation()
    checkSegmentation(segmentation)
    expect(segmentation.segments.map(({ name, mask }) => [name, mask.count])).toEqual([
      ['Class 3', liver.count],
      ['Class 5 1', 48],
      ['Class 5 2', 144],
      ['Class 255', rest.count],
    ])
    expect(segmentation.segments[1]!.mask.origin).toEqual([14, 0, 0])
    expect(segmentation.segments[2]!.mask.origin).toEqual([14, 10, 10])
    expect(segmentation.segments[3]!.class).toBe(null)
  })
})

describe('the majority of slices', () => {
  const slices = ['aab', 'abb', 'abc', 'cbc'].map((row) => Uint8Array.from(row, (char) => char.charCodeAt(0) - 96))
  it('decides, else the own value', () => {
    expect([...smoothedSlice(slices, 1, 1)]).toEqual([1, 2, 2])
    expect([...smoothedSlice(slices, 2, 1)]).toEqual([1, 2, 3])
    expect([...smoothedSlice(slices, 0, 1)]).toEqual([1, 1, 2])
    expect([...smoothedSlice(slices, 3, 2)]).toEqual([1, 2, 3])
    expect(smoothedSlice(slices, 3, 0)).toBe(slices[3])
  })
})

describe('model.labelVolume', () => {
  const quick = { pointsPerSide: 2, minEvidence: 0 }
  const small = volumeOf([24, 20, 3])

  it('is made of the label maps of its slices, one scene at a time', async () => {
    using model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const alive: number[] = []
    const map = await model.labelVolume(small, {
      ...quick,
      smoothing: 0,
      onProgress: () => alive.push(model.stats().memory.scenes),
    })
    expect(alive).toEqual([0, 0, 0])
    for (let k = 0; k < 3; k++) {
      using scene = await model.encode(small.slice('z', k))
      const { data } = await scene.labelMap(quick)
      expect(Buffer.compare(Uint8Array.from(map.data).subarray(k * 480, (k + 1) * 480), Uint8Array.from(data))).toBe(0)
    }
    expect(map.classes.reduce((sum, { voxels }) => sum + voxels, 0)).toBe(
      Array.from(map.data).filter((value) => value > 0).length,
    )
  })

  it('stops at a signal', async () => {
    using model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('enough'))
    const labelled = model.labelVolume(small, { ...quick, signal: controller.signal, onProgress })
    await expect(labelled).rejects.toThrow('enough')
    expect(model.stats().memory.scenes).toBe(0)
  })

  it('refuses what it cannot use', async () => {
    using model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
    const refused = (options: object, volume: unknown = small) =>
      expect(model.labelVolume(volume as Volume, options)).rejects
    await refused({ smoothing: 1.5 }).toThrow('smoothing is 1.5')
    await refused({ axis: 'w' }).toThrow("axis is 'w'")
    await refused({ largest: true }).toThrow("an option is 'largest'")
    await refused({ onProgress: 3 }).toThrow('onProgress is 3')
    await refused({ minMillilitres: -1 }).toThrow('minMillilitres is -1')
    await refused({}, { data: small.data }).toThrow('volume is')
  })
})
