import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { addon } from '../lib/addon.js'
import { croppedImage, cropsOf, isCutOff } from '../lib/everything/crops.js'
import { type EverythingOptions, type FoundObject, Mask, type MedicalImage, SegSam } from '../lib/index.js'
import { bundle, discImage } from './fixture.js'

const [width, height] = [150, 90]
/** Random weights trust none of their masks. */
const lenient: EverythingOptions = {
  pointsPerSide: 4,
  predIouThresh: 0,
  stabilityScoreThresh: 0,
  boxNmsThresh: 1,
  cropNmsThresh: 1,
  diceThresh: 0,
}
const image = discImage(width, height)
let model: SegSam

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
})
afterAll(() => model.dispose())

function summaries(objects: FoundObject[]) {
  return objects.map(({ bbox, area, point, cropBox, label }) => ({ bbox, area, point, cropBox, label: label?.id }))
}

describe('crops', () => {
  it('cover every pixel of the image and stay within it, with or without an overlap', () => {
    for (const [width, height, layers, overlap] of [
      [5, 4, 1, 0],
      [3, 3, 1, 0.5],
      [97, 65, 3, 0.1],
      [61, 60, 2, 1 / 60],
      [640, 40, 2, 512 / 1500],
    ] as const) {
      for (let layer = 1; layer <= layers; layer++) {
        const covered = new Uint8Array(width * height)
        for (const crop of cropsOf({ width, height }, layers, overlap).filter((each) => each.layer === layer)) {
          const margins = [crop.x, crop.y, width - crop.x - crop.width, height - crop.y - crop.height]
          expect(Math.min(...margins)).toBeGreaterThanOrEqual(0)
          for (let y = crop.y; y < crop.y + crop.height; y++) {
            covered.fill(1, y * width + crop.x, y * width + crop.x + crop.width)
          }
        }
        expect(covered).toEqual(new Uint8Array(width * height).fill(1))
      }
    }
  })

  it('of less than two pixels are refused', () => {
    expect(() => cropsOf({ width: 2, height: 2 }, 1, 0)).toThrow(/cropNLayers is 1; allowed: at most 0 for .* 2 x 2/)
    expect(() => cropsOf({ width: 5, height: 50 }, 2, 0)).toThrow(/cropNLayers is 2; allowed: at most 1/)
  })

  it('hold the pixels of their place, of the type of the image, without touching it', () => {
    const data = Int16Array.from({ length: 6 * 4 * 3 }, (_, i) => i - 30)
    const crop = croppedImage({ data, width: 6, height: 4, channels: 3 }, { x: 2, y: 1, width: 3, height: 2, layer: 1 })
    const rows = [1, 2].flatMap((y) => [...data.subarray((6 * y + 2) * 3, (6 * y + 5) * 3)])
    expect(crop).toEqual({ data: Int16Array.from(rows), width: 3, height: 2, channels: 3 })
    const bytes = croppedImage(
      { data: Buffer.from([1, 2, 3, 4]), width: 2, height: 2, channels: 1 },
      { ...crop, x: 0, y: 1, width: 2, height: 1, layer: 1 },
    )
    expect(bytes.data).toEqual(Uint8Array.of(3, 4))
  })

  it('cut off what ends within 20 pixels of an edge, but of an edge of the image', () => {
    const crop = { x: 0, y: 50, width: 100, height: 100, layer: 1 }
    const whole = { width: 200, height: 150 }
    expect(isCutOff([0, 21, 79, 99], crop, whole)).toBe(false)
    expect(isCutOff([0, 20, 79, 99], crop, whole)).toBe(true)
    expect(isCutOff([0, 21, 80, 99], crop, whole)).toBe(true)
    expect(
      isCutOff([0, 0, 99, 99], { x: 0, y: 0, width: 100, height: 100, layer: 0 }, { width: 100, height: 100 }),
    ).toBe(false)
  })
})

describe('everything from the pixels', () => {
  it('is that of the scene where there are no crops', async () => {
    using scene = await model.encode(image)
    expect(summaries(await model.segmentEverything(image, lenient))).toEqual(
      summaries(await scene.segmentEverything(lenient)),
    )
    const options = { pointsPerSide: 4, boxNmsThresh: 1 }
    expect((await model.labelMap(image, options)).data).toEqual((await scene.labelMap(options)).data)
  })

  it('has what each crop shows, at its place in the image and named as in the crop', async () => {
    const found = await model.segmentEverything(image, { ...lenient, cropNLayers: 1 })
    let inCrops = 0
    for (const crop of cropsOf(image, 1, 512 / 1500)) {
      using scene = await model.encode(croppedImage(image, crop))
      const alone = (await scene.segmentEverything(lenient)).filter(({ bbox }) => !isCutOff(bbox, crop, image))
      const here = found.filter(
        ({ cropBox: [x0, y0, x1, y1] }) =>
          [x0, y0, x1, y1].join() === [crop.x, crop.y, crop.x + crop.width - 1, crop.y + crop.height - 1].join(),
      )
      expect(here).toHaveLength(alone.length)
      if (crop.layer > 0) inCrops += here.length
      for (const [i, object] of here.entries()) {
        const { point, mask, label, agreement } = alone[i]!
        expect(object.point).toEqual({ x: point.x + crop.x, y: point.y + crop.y })
        expect(object).toMatchObject({ width, height, label, agreement })
        expect(croppedImage({ ...object.mask, width, height, channels: 1, data: object.mask.data }, crop).data).toEqual(
          mask.data,
        )
        expect(object.mask).toMatchObject({ area: mask.area, bbox: object.bbox })
        expect(Mask.fromRLE(object.rle).area).toBe(object.area)
      }
    }
    expect(inCrops).toBeGreaterThan(0)
  })

  it('prefers masks of smaller crops', async () => {
    const options = { ...lenient, cropNLayers: 1 }
    const all = await model.segmentEverything(image, options)
    const distinct = await model.segmentEverything(image, { ...options, cropNmsThresh: 0 })
    const isWhole = ({ cropBox }: FoundObject) => cropBox.join() === [0, 0, width - 1, height - 1].join()
    expect(distinct.length).toBeLessThan(all.length)
    expect(all.filter(isWhole).length).toBeGreaterThan(0)
    expect(distinct.some((object) => !isWhole(object))).toBe(true)
  })

  it('sees every crop in the window of the whole image', async () => {
    const deep: MedicalImage = { ...image, data: Uint16Array.from(image.data, (value, i) => value * 9 + (i % 7)) }
    const encode = vi.spyOn(addon().Model.prototype, 'encode')
    await model.segmentEverything(deep, { ...lenient, cropNLayers: 1, pointsPerSide: 1 })
    const windows = encode.mock.calls.map(([[view]]) => view!.window)
    encode.mockRestore()
    expect(windows).toHaveLength(5)
    expect(new Set(windows.map((window) => window!.join())).size).toBe(1)
    using own = await model.encode(deep)
    using given = await model.encode(deep, { window: windows[0]! })
    const prompts = [{ points: [{ x: 70, y: 40 }] }]
    expect((await given.segment(prompts))[0]!.logits).toEqual((await own.segment(prompts))[0]!.logits)
  })

  it('holds one scene at a time, and none at the end, after an abort or after an error', async () => {
    const before = addon().counters().scenes
    const options = { ...lenient, pointsPerSide: 2, cropNLayers: 1 }
    let most = 0
    const encode = addon().Model.prototype.encode
    const spy = vi.spyOn(addon().Model.prototype, 'encode')
    spy.mockImplementation(async function (this: SegSam, ...args: Parameters<typeof encode>) {
      const scenes = await encode.apply(this as never, args)
      most = Math.max(most, addon().counters().scenes - before)
      return scenes
    } as typeof encode)
    await model.segmentEverything(image, options)
    expect(most).toBe(1)
    expect(addon().counters().scenes).toBe(before)

    const controller = new AbortController()
    const reason = new Error('enough')
    let encoded = 0
    spy.mockImplementation(async function (this: SegSam, ...args: Parameters<typeof encode>) {
      if (++encoded === 3) controller.abort(reason)
      return encode.apply(this as never, args)
    } as typeof encode)
    await expect(model.segmentEverything(image, { ...options, signal: controller.signal })).rejects.toBe(reason)
    expect(encoded).toBe(3)
    spy.mockRestore()
    await vi.waitFor(() => expect(addon().counters().scenes).toBe(before))
    await expect(model.segmentEverything(discImage(2, 2), { cropNLayers: 1, cropOverlapRatio: 0 })).rejects.toThrow(
      /cropNLayers/,
    )
    expect(addon().counters().scenes).toBe(before)
  })

  it('does not see what the caller writes into the pixels meanwhile', async () => {
    const options = { ...lenient, pointsPerSide: 2, cropNLayers: 1 }
    const expected = summaries(await model.segmentEverything(image, options))
    const own = { ...image, data: image.data.slice() }
    const pending = model.segmentEverything(own, options)
    own.data.fill(0)
    expect(summaries(await pending)).toEqual(expected)
  })

  it('refuses what encode and the scene refuse', async () => {
    await expect(model.segmentEverything({} as MedicalImage)).rejects.toMatchObject({ code: 'INVALID_IMAGE' })
    await expect(model.segmentEverything(image, null as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(model.labelMap(image, { window: [3, 1] })).rejects.toThrow(/^window/)
    await expect(model.labelMap(image, { cropLayers: 1 } as never)).rejects.toThrow(/an option is 'cropLayers'/)
    await expect(model.labelMap(image, { classes: ['no such'] })).rejects.toMatchObject({ code: 'UNKNOWN_CLASS' })
  })
})
