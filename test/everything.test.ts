import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Decoded, PromptBatch } from '../binding.js'
import { type Decoder, decodedPoints } from '../lib/everything/decode-grid.js'
import { checkedEverything } from '../lib/everything/options.js'
import { pointGrid } from '../lib/everything/point-grid.js'
import { withoutSmallRegions } from '../lib/everything/small-regions.js'
import { withoutDuplicates } from '../lib/everything/suppression.js'
import { type EverythingOptions, type FoundObject, Mask, type Scene, SegSam } from '../lib/index.js'
import type { BoundingBox } from '../lib/mask.js'
import { bundle, discImage, untrainedBundle } from './fixture.js'

const [width, height] = [60, 44]
/** Random weights trust none of their masks. */
const lenient: EverythingOptions = {
  pointsPerSide: 6,
  predIouThresh: 0,
  stabilityScoreThresh: 0,
  boxNmsThresh: 1,
  diceThresh: 0,
}
let model: SegSam
let scene: Scene

beforeAll(async () => {
  model = await SegSam.load(bundle, { device: 'cpu', precision: 'fp32' })
  scene = await model.encode(discImage(width, height))
})
afterAll(() => model.dispose())

function fixture(name: string) {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8'))
}

/** All that tells objects apart but rounding. */
function summaries(objects: FoundObject[]) {
  return objects.map(({ bbox, area, point, predictedIou }) => ({ bbox, area, point, iou: predictedIou.toFixed(4) }))
}

describe('the grid of points', () => {
  it('lies at the centres of equal cells, row by row', () => {
    expect([...pointGrid(2, 100, 40)]).toEqual([25, 10, 75, 10, 25, 30, 75, 30])
    expect([...pointGrid(1, 7, 5)]).toEqual([3.5, 2.5])
    expect(pointGrid(32, 640, 480)).toHaveLength(2 * 32 * 32)
  })

  it('is decoded in batches that bound the memory of the masks, each point followed by padding', async () => {
    const batches: PromptBatch[] = []
    const decoder = {
      width: 8192,
      height: 2048,
      decode: async (batch: PromptBatch) => {
        batches.push(batch)
        return {} as Decoded
      },
    } as unknown as Decoder
    const counts = async (perBatch: number, multimask: boolean) => {
      batches.length = 0
      for await (const { count, points } of decodedPoints(decoder, pointGrid(5, 10, 10), { perBatch, multimask })) {
        expect(points).toHaveLength(2 * count)
      }
      return batches.map(({ count }) => count)
    }
    // 2^24 pixels a mask, a bit each: four masks a point with multimask, two without.
    expect(await counts(64, true)).toEqual([8, 8, 8, 1])
    expect(await counts(64, false)).toEqual([16, 9])
    expect(await counts(10, false)).toEqual([10, 10, 5])
    expect(batches[0]).toMatchObject({ pointsPerPrompt: 2, masks: null })
    expect([...batches[0]!.points.slice(0, 8)]).toEqual([1, 1, 0, 0, 3, 1, 0, 0])
    expect([...batches[0]!.labels.slice(0, 4)]).toEqual([1, -1, 1, -1])
  })
})

describe('non-maximum suppression', () => {
  it('keeps the boxes that an independent computation keeps', async () => {
    const { cases } = fixture('suppression.json') as {
      cases: { boxes: BoundingBox[]; scores: number[]; threshold: number; kept: number[] }[]
    }
    for (const { boxes, scores, threshold, kept } of cases) {
      expect(await keptOf(boxes, scores, threshold)).toEqual(kept)
    }
  })

  it('lets boxes without area be', async () => {
    const line: BoundingBox = [3, 0, 3, 9]
    expect(await keptOf([line, line], [0.5, 0.75], 0.7)).toEqual([1, 0])
  })

  async function keptOf(boxes: BoundingBox[], scores: number[], threshold: number) {
    const objects = boxes.map((bbox, i) => ({ bbox, i }))
    return (await withoutDuplicates(objects, ({ i }) => scores[i]!, threshold)).map(({ i }) => i)
  }
})

describe('small regions', () => {
  it('are those of scipy', () => {
    for (const { width, height, mask, minArea, tidied } of fixture('regions.json').cases) {
      const drawn = (text: string) => Uint8Array.from(text, (cell) => (cell === '#' ? 1 : 0))
      if (!tidied.includes('#')) continue
      const clean = withoutSmallRegions(new Mask(width, height, drawn(mask)), minArea)
      expect(clean.data).toEqual(drawn(tidied))
    }
  })

  it('leave the largest where all are small, and the mask itself where none is', () => {
    const specks = new Mask(5, 1, Uint8Array.of(1, 0, 1, 1, 0))
    expect(withoutSmallRegions(specks, 1)).toBe(specks)
    const ring = new Mask(40, 1, new Uint8Array(40).fill(1, 0, 2).fill(1, 20, 25))
    expect(withoutSmallRegions(ring, 6).area).toBe(5)
  })
})

describe('everything in an image', () => {
  it('is what single prompts at the points of the grid give', async () => {
    const objects = await scene.segmentEverything({ ...lenient, multimask: false })
    const points = [...Array(36).keys()].map((i) => ({
      x: ((i % 6) + 0.5) * 10,
      y: ((Math.floor(i / 6) + 0.5) * 44) / 6,
    }))
    const hits = await scene.segment(
      points.map((point) => ({ points: [point] })),
      { multimask: false },
    )
    const filled = hits.filter(({ mask }) => mask.area > 0)
    expect(objects).toHaveLength(filled.length)
    for (const object of objects) {
      const i = points.findIndex(({ x, y }) => Math.hypot(x - object.point.x, y - object.point.y) < 1e-3)
      expect(object.predictedIou).toBeCloseTo(hits[i]!.predictedIou, 4)
      expect(object.mask.iou(hits[i]!.mask)).toBeGreaterThan(0.99)
      expect(Math.abs(object.agreement! - hits[i]!.agreement!)).toBeLessThan(0.02)
    }
    const scores = objects.map(({ predictedIou }) => predictedIou)
    expect(scores).toEqual(scores.toSorted((a, b) => b - a))
  })

  it('has area, box, run lengths and stability of each mask', async () => {
    for (const object of await scene.segmentEverything(lenient)) {
      expect(object.mask).toMatchObject({ width, height, area: object.area, bbox: object.bbox })
      expect(Mask.fromRLE(object.rle)).toEqual(object.mask)
      expect(object.stabilityScore).toBeGreaterThanOrEqual(0)
      expect(object.stabilityScore).toBeLessThanOrEqual(1)
    }
  })

  it('does not depend on the size of the batches', async () => {
    const [whole, single] = [
      await scene.segmentEverything(lenient),
      await scene.segmentEverything({ ...lenient, pointsPerBatch: 7 }),
    ]
    expect(whole.length).toBeGreaterThan(10)
    expect(summaries(single)).toEqual(summaries(whole))
  })

  it('loses what each threshold leaves out', async () => {
    const all = await scene.segmentEverything(lenient)
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
    const dice = ({ agreement }: FoundObject) => (2 * agreement!) / (1 + agreement!)
    const iou = median(all.map(({ predictedIou }) => predictedIou))
    if (iou > 0) {
      const trusted = await scene.segmentEverything({ ...lenient, predIouThresh: iou })
      expect(summaries(trusted)).toEqual(summaries(all.filter(({ predictedIou }) => predictedIou > iou)))
    }
    const stability = median(all.map(({ stabilityScore }) => stabilityScore))
    const stable = await scene.segmentEverything({ ...lenient, stabilityScoreThresh: stability })
    expect(summaries(stable)).toEqual(summaries(all.filter(({ stabilityScore }) => stabilityScore >= stability)))
    const agreed = median(all.map(dice))
    const agreeing = await scene.segmentEverything({ ...lenient, diceThresh: agreed })
    expect(summaries(agreeing)).toEqual(summaries(all.filter((object) => dice(object) >= agreed)))
    const distinct = await scene.segmentEverything({ ...lenient, boxNmsThresh: 0.3 })
    expect(distinct.length).toBeLessThan(all.length)
    const tidy = await scene.segmentEverything({ ...lenient, minMaskRegionArea: 20 })
    for (const { mask } of tidy) {
      const areas = mask.components().components.map(({ area }) => area)
      expect(areas.length === 1 || Math.min(...areas) >= 20).toBe(true)
    }
  })

  it('takes the defaults of SAM’s mask generator, and asks for agreement where the semantic part is trained', () => {
    const defaults = {
      pointsPerSide: 32,
      pointsPerBatch: 64,
      multimask: true,
      predIouThresh: 0.88,
      stabilityScoreThresh: 0.95,
      stabilityScoreOffset: 1,
      boxNmsThresh: 0.7,
      minMaskRegionArea: 0,
      cropNLayers: 0,
      cropNmsThresh: 0.7,
      cropOverlapRatio: 512 / 1500,
      cropNPointsDownscaleFactor: 1,
    }
    expect(checkedEverything({}, 'trained')).toEqual({ ...defaults, diceThresh: 0.5, semantic: 'trained' })
    expect(checkedEverything({}, 'untrained')).toEqual({ ...defaults, diceThresh: 0, semantic: 'untrained' })
  })

  it('is named by a trained bundle only', async () => {
    using untrained = await SegSam.load(await untrainedBundle(), { device: 'cpu' })
    using unnamed = await untrained.encode(discImage(width, height))
    const masks = await unnamed.segmentEverything(lenient)
    expect(masks.length).toBeGreaterThan(0)
    for (const { label, labelReason, candidates, agreement } of masks) {
      const nothing = { label: null, labelReason: 'untrained', candidates: [], agreement: null }
      expect({ label, labelReason, candidates, agreement }).toEqual(nothing)
    }
    await expect(unnamed.segmentEverything({ diceThresh: 0.5 })).rejects.toThrow(/diceThresh is 0\.5; allowed: 0/)
    const objects = await scene.segmentEverything({ ...lenient, classes: ['ring'] })
    expect(objects.length).toBeGreaterThan(0)
    for (const { label, labelReason, candidates } of objects) {
      expect([label, ...candidates].filter(Boolean)).toMatchObject([{ id: 'ring' }])
      expect(labelReason).toBe(label ? null : 'nothing')
    }
  })

  it('works on an image smaller than the grid', async () => {
    using tiny = await model.encode(discImage(7, 5))
    for (const { mask } of await tiny.segmentEverything({ ...lenient, pointsPerSide: 16 })) {
      expect(mask).toMatchObject({ width: 7, height: 5 })
    }
  })
})

describe('a call for everything', () => {
  it.each([
    [{ pointsPerSide: 0 }, /^pointsPerSide is 0; allowed: a whole number from 1 to 128/],
    [{ pointsPerSide: 1000 }, /^pointsPerSide/],
    [{ pointsPerBatch: 1.5 }, /^pointsPerBatch/],
    [{ predIouThresh: 1.1 }, /^predIouThresh is 1\.1; allowed: a number from 0 to 1/],
    [{ stabilityScoreThresh: Number.NaN }, /^stabilityScoreThresh is NaN/],
    [{ stabilityScoreOffset: -1 }, /^stabilityScoreOffset/],
    [{ diceThresh: '0.5' }, /^diceThresh/],
    [{ boxNmsThresh: null }, /^boxNmsThresh is null/],
    [{ minMaskRegionArea: -3 }, /^minMaskRegionArea/],
    [{ multimask: 1 }, /^multimask/],
    [{ cropNLayers: 5 }, /^cropNLayers is 5; allowed: a whole number from 0 to 4/],
    [{ cropNmsThresh: -1 }, /^cropNmsThresh is -1/],
    [{ cropOverlapRatio: 1 }, /^cropOverlapRatio is 1; allowed: a number from 0 to below 1/],
    [{ cropNPointsDownscaleFactor: 0 }, /^cropNPointsDownscaleFactor is 0/],
    [{ pointsPerSide: 10, cropNLayers: 2, cropNPointsDownscaleFactor: 4 }, /^cropNPoints.* is 4; allowed: at most 3/],
    [{ cropNLayers: 1 }, /^cropNLayers is 1; allowed: 0 for a scene.* model\.(segmentEverything|labelMap)\(image/],
    [{ signal: 'now' }, /^signal/],
    [null, /^options is null/],
  ])('refuses %j', async (options, message) => {
    for (const call of [scene.segmentEverything(options as never), scene.labelMap(options as never)]) {
      await expect(call).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) })
    }
  })

  it('stops at an abort with its reason, and leaves the scene usable', async () => {
    const reason = new Error('enough')
    await expect(scene.segmentEverything({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const pending = scene.segmentEverything({ pointsPerSide: 64, pointsPerBatch: 1, signal: controller.signal })
    setTimeout(() => controller.abort(reason), 30)
    await expect(pending).rejects.toBe(reason)
    expect(await scene.segmentEverything({ ...lenient, pointsPerSide: 1 })).toBeDefined()
  })

  it('needs a scene that is not disposed; one disposed meanwhile serves to the end', async () => {
    const own = await model.encode(discImage(width, height))
    const pending = own.segmentEverything(lenient)
    own.dispose()
    expect((await pending).length).toBeGreaterThan(0)
    for (const call of [own.segmentEverything(), own.labelMap(), own.present()]) {
      await expect(call).rejects.toMatchObject({ code: 'DISPOSED' })
    }
  })
})
