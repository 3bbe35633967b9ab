import { beforeAll, describe, expect, it } from 'vitest'
import { Mask, SegSam, segmentationOfHits, VoxelMask } from '../lib/index.js'
import { checkSegmentation } from '../lib/volume/segmentation.js'
import { bundle } from './fixture.js'
import { volumeOf } from './volume-fixture.js'

const shape = [4, 3, 2] as const
const flipped = { origin: [3, 0, 1], right: [-1, 0, 0], down: [0, 1, 0] } as const

/** One half or more where a mask is set, one half or less elsewhere. */
function expectHalves(shares: Float32Array, mask: Uint8Array) {
  expect(shares).toHaveLength(mask.length)
  const away = shares.map((share, i) => (mask[i] ? share - 0.5 : 0.5 - share))
  expect(Math.min(...away)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...away)).toBeLessThanOrEqual(0.5)
}

describe('a mask of voxels', () => {
  it('keeps its bounding box of the values that are set', () => {
    const data = new Uint8Array(24)
    data[1 + 4 * (2 + 3 * 1)] = 7
    data[2 + 4 * (1 + 3 * 1)] = 7
    data[0] = 5
    const mask = VoxelMask.of(shape, data, 7)
    expect(mask).toMatchObject({ origin: [1, 1, 1], size: [2, 2, 1], count: 2 })
    expect([...mask.data]).toEqual([0, 1, 1, 0])
    expect([...mask.toVolume()]).toEqual(Array.from(data, (value) => (value === 7 ? 1 : 0)))
    expect(VoxelMask.of(shape, data).count).toBe(3)
  })

  it('puts slices of any axis together, and gives them back', () => {
    const drawn = new Mask(4, 3, Uint8Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    const mask = VoxelMask.ofSlices(shape, [{ plane: flipped, mask: drawn }])
    expect(mask).toMatchObject({ origin: [2, 0, 1], size: [2, 2, 1], count: 2 })
    expect(mask.has([3, 0, 1])).toBe(true)
    expect(mask.has([2, 1, 1])).toBe(true)
    expect(mask.has([3, 0, 0])).toBe(false)
    expect(mask.slice(flipped).data).toEqual(drawn.data)
    const side = { origin: [3, 0, 0], right: [0, 1, 0], down: [0, 0, 1] } as const
    expect([...mask.slice(side).data]).toEqual([0, 0, 0, 1, 0, 0])
  })

  it('may be empty', () => {
    const mask = VoxelMask.of(shape, new Uint8Array(24))
    expect(mask).toMatchObject({ size: [0, 0, 0], count: 0 })
    expect(mask.slice(flipped).area).toBe(0)
    expect(mask.toVolume()).toEqual(new Uint8Array(24))
  })

  it('refuses data and masks of another size', () => {
    expect(() => VoxelMask.of(shape, new Uint8Array(23))).toThrow('24 values')
    const wrong = new Mask(3, 4, new Uint8Array(12))
    expect(() => VoxelMask.ofSlices(shape, [{ plane: flipped, mask: wrong }])).toThrow('4 x 3')
  })
})

describe('a segmentation of hits', () => {
  let model: SegSam
  beforeAll(async () => {
    model = await SegSam.load(bundle, { device: 'cpu' })
    return () => model.dispose()
  })

  it('lays the masks of a slice into the volume', async () => {
    const volume = volumeOf([48, 40, 3])
    const slice = volume.slice('coronal', 20)
    using scene = await model.encode(slice)
    const hits = await scene.segment([{ points: [{ x: 10, y: 1 }] }, { box: [5, 0, 30, 2] }])
    const segmentation = segmentationOfHits(volume, slice, hits, model.info)
    for (const [i, { mask, class: found, name }] of segmentation.segments.entries()) {
      expect(mask.slice(slice.plane).data).toEqual(hits[i]!.mask.data)
      expect(mask.count).toBe(hits[i]!.mask.area)
      expect(found?.id).toBe(hits[i]!.label?.id)
      expect(name).toBe(hits[i]!.label?.name ?? `Object ${i + 1}`)
    }
    expect(segmentation.model.hash).toMatch(/^[0-9a-f]{64}$/)
  })

  it('knows the fractions of its voxels by the scene', async () => {
    const volume = volumeOf([48, 40, 3])
    const slice = volume.slice('axial', 1)
    using scene = await model.encode(slice)
    const hits = await scene.segment([{ points: [{ x: 10, y: 9 }] }, { box: [5, 6, 30, 22] }])
    const { segments } = segmentationOfHits(volume, slice, hits, model.info, scene)
    for (const [i, { mask, fractions }] of segments.entries()) {
      const probabilities = scene.probabilities(hits[i]!.logits)
      expectHalves(probabilities, hits[i]!.mask.data)
      expectHalves(fractions!, mask.data)
    }
    const blind = hits.map(({ mask, label, predictedIou }) => ({ mask, label, predictedIou }))
    expect(() => segmentationOfHits(volume, slice, blind, model.info, scene)).toThrow('logits of hits[0]')
    expect(() => scene.probabilities(new Float32Array(9))).toThrow(expect.objectContaining({ code: 'INVALID_PROMPT' }))
  })

  it('is checked before it is written', () => {
    const volume = volumeOf([4, 3, 2])
    const segment = { name: 'a', class: null, probability: null, predictedIou: null, colour: '#FF0000' }
    const model = { name: 'm', version: '1', hash: '00' }
    const check = (mask: VoxelMask) => checkSegmentation({ volume, model, segments: [{ ...segment, mask }] })
    expect(() => check(VoxelMask.of(shape, new Uint8Array(24).fill(1)))).not.toThrow()
    expect(() => check(VoxelMask.of(shape, new Uint8Array(24)))).toThrow('no voxel')
    expect(() => check(VoxelMask.of([3, 4, 2], new Uint8Array(24).fill(1)))).toThrow('4 x 3 x 2')
    expect(() => checkSegmentation({ volume, model, segments: [] })).toThrow('at least one segment')
  })
})
