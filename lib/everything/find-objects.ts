import { setImmediate } from 'node:timers/promises'
import { type Crop, cropsOf } from './crops.js'
import { FoundObject } from './found-object.js'
import type { CheckedEverything } from './options.js'
import { withoutSmallRegions } from './small-regions.js'
import { withoutDuplicates } from './suppression.js'

/** Looks at a crop with a grid of points. Resolves to objects in pixels of the whole image, by falling predicted IoU. */
export type Look = (crop: Crop, pointsPerSide: number) => Promise<FoundObject[]>

/**
 * Segments an image, and each crop of it, one after the other. Of masks with nearly the same box the one from the smaller
 * crop is kept, which shows it larger.
 *
 * Source: Kirillov et al., Segment Anything (2023), section 5 and appendix B; segment-anything,
 * `automatic_mask_generator.py`.
 *
 * @returns objects by falling predicted IoU
 * @throws SegSamError `INVALID_ARGUMENT` where the image is too small for so many layers of crops
 */
export async function findObjects(
  image: { width: number; height: number },
  options: CheckedEverything,
  look: Look,
  signal: AbortSignal | undefined,
): Promise<FoundObject[]> {
  const { pointsPerSide, cropNLayers, cropOverlapRatio, cropNPointsDownscaleFactor } = options
  const crops = cropsOf(image, cropNLayers, cropOverlapRatio)
  const found: FoundObject[] = []
  for (const crop of crops) {
    found.push(...(await look(crop, Math.floor(pointsPerSide / cropNPointsDownscaleFactor ** crop.layer))))
  }
  const distinct = crops.length > 1 ? await withoutDuplicates(found, byCrop, options.cropNmsThresh) : found
  const tidy = options.minMaskRegionArea > 0 ? await tidied(distinct, options, signal) : distinct
  signal?.throwIfAborted()
  return tidy.toSorted((a, b) => b.predictedIou - a.predictedIou)
}

function byCrop({ cropBox: [x0, y0, x1, y1] }: FoundObject): number {
  return 1 / ((x1 - x0 + 1) * (y1 - y0 + 1))
}

/** As in segment-anything, masks that had no small regions are preferred where two have nearly the same box. */
async function tidied(
  objects: FoundObject[],
  { minMaskRegionArea, boxNmsThresh, cropNmsThresh }: CheckedEverything,
  signal: AbortSignal | undefined,
): Promise<FoundObject[]> {
  const untouched = new Set(objects)
  const tidy: FoundObject[] = []
  for (const object of objects) {
    signal?.throwIfAborted()
    const { mask } = object
    const clean = withoutSmallRegions(mask, minMaskRegionArea)
    if (clean === mask) tidy.push(object)
    else {
      const counts = clean.runs()
      tidy.push(new FoundObject(object, counts, { ...object, area: clean.area, bbox: clean.bbox! }))
    }
    await setImmediate()
  }
  const threshold = Math.max(boxNmsThresh, cropNmsThresh)
  return withoutDuplicates(tidy, (object) => (untouched.has(object) ? 1 : 0), threshold)
}
