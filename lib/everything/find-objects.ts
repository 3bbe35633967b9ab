import { setImmediate } from 'node:timers/promises'
import type { Decoded } from '../../binding.js'
import { addon } from '../addon.js'
import type { BoundingBox } from '../mask.js'
import type { Hit } from '../scene.js'
import { type Decoder, decodedPoints } from './decode-grid.js'
import { FoundObject } from './found-object.js'
import type { CheckedEverything } from './options.js'
import { pointGrid } from './point-grid.js'
import { withoutSmallRegions } from './small-regions.js'
import { suppressed } from './suppression.js'

type Name = (decoded: Decoded, place: number) => Pick<Hit, 'label' | 'labelReason' | 'candidates'>

/**
 * Segments what the points of a grid lie on. Masks that the model itself does not trust, that are not stable, or on
 * which the two decoders disagree are left out; of those left with nearly the same box the best is kept.
 *
 * Source: Kirillov et al., Segment Anything (2023), section 5 and appendix B; segment-anything,
 * `automatic_mask_generator.py`. The agreement of the decoders is this package's addition.
 *
 * @returns objects by falling predicted IoU
 */
export async function findObjects(decoder: Decoder, options: CheckedEverything, name: Name): Promise<FoundObject[]> {
  const points = pointGrid(options.pointsPerSide, decoder.width, decoder.height)
  const batches = decodedPoints(decoder, points, { perBatch: options.pointsPerBatch, multimask: options.multimask })
  const found: FoundObject[] = []
  for await (const { decoded, points, count } of batches) {
    for (let place = 0; place < count; place++) {
      const kept = keptMasks(decoder, decoded, place, options)
      if (kept.length === 0) continue
      const point = { x: points[2 * place]!, y: points[2 * place + 1]! }
      const names = name(decoded, place)
      for (const { counts, ...fields } of kept)
        found.push(new FoundObject(decoder, counts, { ...fields, ...names, point }))
      await setImmediate()
    }
  }
  const best = withoutDuplicates(found, predictedIou, options.boxNmsThresh)
  return options.minMaskRegionArea > 0 ? tidied(best, options) : best
}

function predictedIou(object: FoundObject): number {
  return object.predictedIou
}

function withoutDuplicates(objects: FoundObject[], score: (object: FoundObject) => number, threshold: number) {
  const boxes = objects.map(({ bbox }) => bbox)
  return suppressed(boxes, objects.map(score), threshold).map((i) => objects[i]!)
}

/** Those masks of one point that pass the filters. */
function keptMasks(decoder: Decoder, decoded: Decoded, place: number, options: CheckedEverything) {
  const { width, height } = decoder
  const kept: {
    counts: Uint32Array
    area: number
    bbox: BoundingBox
    predictedIou: number
    stabilityScore: number
    agreement: number | null
  }[] = []
  for (let row = place * decoded.masksPerPrompt; row < (place + 1) * decoded.masksPerPrompt; row++) {
    const predictedIou = decoded.iou[row]!
    const agreement = options.semantic === 'trained' ? decoded.agreement[row]! : null
    if (options.predIouThresh > 0 && !(predictedIou > options.predIouThresh)) continue
    if (agreement !== null && (2 * agreement) / (1 + agreement) < options.diceThresh) continue
    const pixels = decoded.masks.subarray(row * width * height, (row + 1) * width * height)
    const { area, bbox } = addon().maskStats(pixels, width, height)
    if (!bbox) continue
    const stabilityScore = stabilityOf(decoder, decoded, row, options.stabilityScoreOffset)
    if (stabilityScore < options.stabilityScoreThresh) continue
    const counts = addon().encodeRle(pixels, width, height)
    kept.push({ counts, area, bbox, predictedIou, stabilityScore, agreement })
  }
  return kept
}

/**
 * IoU of the masks at the threshold shifted up and down, at the size of the image. One holds the other, so that it is
 * the share of their areas; 0 where nothing is above the lower threshold.
 */
function stabilityOf(decoder: Decoder, { logits }: Decoded, row: number, offset: number): number {
  const { width, height, maskSize, imageSize, resizeMode } = decoder
  const low = logits.subarray(row * maskSize ** 2, (row + 1) * maskSize ** 2)
  const areaAbove = (threshold: number) => {
    const mask = addon().upscaleMasks(low, 1, maskSize, width, height, imageSize, resizeMode, threshold)
    return addon().maskStats(mask, width, height).area
  }
  const union = areaAbove(-offset)
  return union === 0 ? 0 : areaAbove(offset) / union
}

/** As in segment-anything, masks that had no small regions are preferred where two have nearly the same box. */
function tidied(objects: FoundObject[], { minMaskRegionArea, boxNmsThresh }: CheckedEverything): FoundObject[] {
  const tidy = objects.map((object) => {
    const mask = object.mask
    const clean = withoutSmallRegions(mask, minMaskRegionArea)
    if (clean === mask) return object
    const counts = addon().encodeRle(clean.data, clean.width, clean.height)
    return new FoundObject(object, counts, { ...object, area: clean.area, bbox: clean.bbox! })
  })
  const untouched = (object: FoundObject) => (objects.includes(object) ? 1 : 0)
  return withoutDuplicates(tidy, untouched, boxNmsThresh).sort((a, b) => b.predictedIou - a.predictedIou)
}
