import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { cropsOf } from '../../lib/everything/crops.js'
import { pointGrid } from '../../lib/everything/point-grid.js'
import { type FoundObject, type MedicalImage, type Prompt, SegSam } from '../../lib/index.js'

/**
 * Converted bundles of random weights in the addon, against Hugging Face's SamModel and against plain_sam.py with the same
 * weights. `micro` and `sam-med2d` lie in the repository; make_reference.py makes more into build/reference, where
 * transformers is installed.
 */
const committed = fileURLToPath(new URL('.', import.meta.url))
const made = fileURLToPath(new URL('../../build/reference', import.meta.url))
const references = [committed, made]
  .filter(existsSync)
  .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
  .filter((folder) => existsSync(join(folder, 'cases.json')))

interface Stored {
  offset: number
  shape: number[]
}

interface Case {
  name: string
  points: [number, number][]
  labels: number[]
  multimask: boolean
  logits: Stored
  iou: Stored
  mask?: Stored
}

interface FoundCase {
  predIouThresh: number
  stabilityScoreThresh: number
  stabilityScoreOffset: number
  objects: { predictedIou: number; bbox: [number, number, number, number]; area: number }[]
}

type Box = [number, number, number, number]

interface CropBoxes {
  width: number
  height: number
  layers: number
  overlapRatio: number
  /** To the pixel after the last. */
  boxes: Box[]
  boxLayers: number[]
}

interface FoundInCrops {
  width: number
  height: number
  pointsPerSide: number
  cropNLayers: number
  cropNPointsDownscaleFactor: number
  stabilityScoreOffset: number
  grids: [number, number][][]
  objects: (FoundCase['objects'][number] & { crop: Box })[]
}

describe.each(references)('%s', (folder) => {
  const { size, imageSize, cases } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'))
  const bytes = readFileSync(join(folder, 'values.f32'))
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  const stored = ({ offset, shape }: Stored) => values.subarray(offset, offset + shape.reduce((a, b) => a * b, 1))

  test(`${size}: logits and predicted IoU equal the reference's within 1e-4`, async () => {
    using model = await SegSam.load(join(folder, 'bundle'), { device: 'cpu', precision: 'fp32' })
    const image = {
      data: new Uint8Array(readFileSync(join(folder, 'image.rgb'))),
      width: imageSize,
      height: imageSize,
      channels: 3 as const,
    }
    using scene = await model.encode(image)
    for (const reference of cases as Case[]) {
      const mask = reference.mask && stored(reference.mask)
      const [hit] = await scene.segment([promptOf(reference, mask)], { multimask: reference.multimask })
      const proposals = hit?.masks ?? []
      const logits = stored(reference.logits)
      const iou = stored(reference.iou)
      expect(proposals).toHaveLength(iou.length)
      const side = logits.length / iou.length
      proposals.forEach((proposal, i) => {
        expect(proposal.logits).toHaveLength(side)
        const difference = largestDifference(proposal.logits, logits.subarray(i * side, (i + 1) * side))
        expect(difference, `${reference.name}, mask ${i}`).toBeLessThan(1e-4)
        expect(Math.abs(proposal.predictedIou - (iou[i] as number)), reference.name).toBeLessThan(1e-4)
      })
    }
  })
})

/** What make_everything.py added to `micro`. */
describe('masks of a grid of points', () => {
  const folder = join(committed, 'micro')
  const { pointsPerSide, points, cases, cropBoxes, crops } = JSON.parse(
    readFileSync(join(folder, 'everything.json'), 'utf8'),
  ) as {
    pointsPerSide: number
    points: [number, number][]
    cases: FoundCase[]
    cropBoxes: CropBoxes[]
    crops: FoundInCrops
  }

  test('the points are those of the reference', () => {
    const grid = pointGrid(pointsPerSide, 96, 96)
    expect(grid).toHaveLength(2 * points.length)
    for (const [i, [x, y]] of points.entries()) {
      expect(grid[2 * i]).toBeCloseTo(x, 4)
      expect(grid[2 * i + 1]).toBeCloseTo(y, 4)
    }
  })

  test.each(cases)(
    'predicted IoU above $predIouThresh, stability from $stabilityScoreThresh on: the same masks',
    async ({ objects, ...thresholds }) => {
      using model = await SegSam.load(join(folder, 'bundle'), { device: 'cpu', precision: 'fp32' })
      const data = new Uint8Array(readFileSync(join(folder, 'image.rgb')))
      using scene = await model.encode({ data, width: 96, height: 96, channels: 3 })
      const found = await scene.segmentEverything({ pointsPerSide, ...thresholds, boxNmsThresh: 1 })
      expectSame(found, objects)
    },
  )

  test.each(cropBoxes)('$layers layers of crops of $width x $height pixels', (reference) => {
    const crops = cropsOf(reference, reference.layers, reference.overlapRatio)
    expect(crops.map(({ x, y, width, height }) => [x, y, x + width, y + height])).toEqual(reference.boxes)
    expect(crops.map(({ layer }) => layer)).toEqual(reference.boxLayers)
  })

  test('the points of crops, and the masks of each that its edge does not cut off', async () => {
    const { width, height, grids, objects, ...options } = crops
    for (const [i, crop] of cropsOf(crops, options.cropNLayers, 512 / 1500).entries()) {
      const perSide = Math.floor(options.pointsPerSide / options.cropNPointsDownscaleFactor ** crop.layer)
      const grid = pointGrid(perSide, crop.width, crop.height).map((at, k) => at + (k % 2 === 0 ? crop.x : crop.y))
      expect(largestDifference(grid, Float32Array.from(grids[i]!.flat()))).toBeLessThan(1e-4)
    }
    using model = await SegSam.load(join(folder, 'bundle'), { device: 'cpu', precision: 'fp32' })
    const thresholds = { predIouThresh: 0, stabilityScoreThresh: 0, boxNmsThresh: 1, cropNmsThresh: 1 }
    const found = await model.segmentEverything(spotted(width, height), { ...options, ...thresholds })
    for (const [x0, y0, x1, y1] of new Set(objects.map(({ crop }) => crop))) {
      const isHere = (box: number[]) => box.join() === [x0, y0, x1 - 1, y1 - 1].join()
      expectSame(
        found.filter(({ cropBox }) => isHere(cropBox)),
        objects.filter(({ crop }) => crop.join() === [x0, y0, x1, y1].join()),
      )
    }
    expect(found).toHaveLength(objects.length)
  })

  /** As in make_everything.py. */
  function spotted(width: number, height: number): MedicalImage {
    const pixels = readFileSync(join(folder, 'image.rgb'))
    const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)]
      const isInside = ((x % 72) - 36) ** 2 + ((y % 72) - 36) ** 2 < 20 ** 2
      return isInside ? pixels[3 * ((y % 96) * 96 + (x % 96)) + (i % 3)]! : 255
    })
    return { data, width, height, channels: 3 }
  }
})

function expectSame(found: FoundObject[], objects: FoundCase['objects']) {
  expect(found).toHaveLength(objects.length)
  const byIou = objects.toSorted((a, b) => b.predictedIou - a.predictedIou)
  for (const [i, { predictedIou, bbox, area }] of byIou.entries()) {
    expect(found[i]!.predictedIou).toBeCloseTo(predictedIou, 3)
    expect(Math.abs(found[i]!.area - area)).toBeLessThanOrEqual(1 + area / 1000)
    for (const [side, value] of found[i]!.bbox.entries()) expect(Math.abs(value - bbox[side]!)).toBeLessThanOrEqual(1)
  }
}

/** Corners (labels 2 and 3) become a box; the padding point (label -1) is the library's to add. */
function promptOf({ points, labels }: Case, mask?: Float32Array): Prompt {
  const clicks = points.flatMap(([x, y], i) => (labels[i] === 0 || labels[i] === 1 ? [{ x, y, label: labels[i] }] : []))
  const [from, to] = [points[labels.indexOf(2)], points[labels.indexOf(3)]]
  return {
    ...(clicks.length > 0 && { points: clicks }),
    ...(from && to && { box: [...from, ...to] }),
    ...(mask && { mask }),
  } as Prompt
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0)
}
