import { setImmediate } from 'node:timers/promises'
import type { Decoded } from '../../binding.js'
import { addon } from '../addon.js'
import type { BoundingBox } from '../mask.js'
import type { Names } from '../naming.js'
import { type Crop, isCutOff } from './crops.js'
import { type Decoder, decodedPoints } from './decode-grid.js'
import { FoundObject } from './found-object.js'
import type { CheckedEverything } from './options.js'
import { pointGrid } from './point-grid.js'
import { withoutDuplicates } from './suppression.js'

type Named = Pick<Names, 'label' | 'labelReason' | 'candidates'>
type Name = (decoded: Decoded, place: number) => Named

interface Size {
  width: number
  height: number
}

/** A mask that passed the filters, in pixels of the crop. */
interface KeptMask {
  counts: Uint32Array
  area: number
  bbox: BoundingBox
  predictedIou: number
  stabilityScore: number
  agreement: number | null
}

interface NamedMask extends KeptMask {
  names: Named
  /** The grid point that it answers. */
  point: { x: number; y: number }
}

/** What is looked at, and how densely. */
export interface Place {
  crop: Crop
  /** The size of the whole image. */
  image: Size
  pointsPerSide: number
}

/**
 * Segments what the points of a grid lie on. Masks that the model itself does not trust, that are not stable, that are
 * cut off by the crop, or on which the two decoders disagree are left out; of those left with nearly the same box the
 * best is kept. The agreement of the decoders is this package's addition to SAM's mask generator.
 *
 * @param decoder of the encoded crop
 * @returns objects in pixels of the whole image, by falling predicted IoU
 */
export async function objectsInCrop(
  decoder: Decoder,
  { crop, image, pointsPerSide }: Place,
  options: CheckedEverything,
  name: Name,
): Promise<FoundObject[]> {
  const grid = pointGrid(pointsPerSide, decoder.width, decoder.height)
  const batches = decodedPoints(decoder, grid, { perBatch: options.pointsPerBatch, multimask: options.multimask })
  const isWhole = (bbox: BoundingBox) => !isCutOff(bbox, crop, image)
  const found: NamedMask[] = []
  for await (const { decoded, points, count } of batches) {
    for (let place = 0; place < count; place++) {
      decoder.signal?.throwIfAborted()
      const kept: KeptMask[] = []
      for (let row = place * decoded.masksPerPrompt; row < (place + 1) * decoded.masksPerPrompt; row++) {
        const mask = await keptMask(decoder, decoded, row, options, isWhole)
        if (mask) kept.push(mask)
      }
      if (kept.length === 0) continue
      const point = { x: points[2 * place]!, y: points[2 * place + 1]! }
      const names = name(decoded, place)
      found.push(...kept.map((mask) => ({ ...mask, names, point })))
    }
  }
  const objects: FoundObject[] = []
  for (const mask of await withoutDuplicates(found, ({ predictedIou }) => predictedIou, options.boxNmsThresh)) {
    objects.push(placed(mask, crop, image))
    if (crop.layer > 0) await setImmediate()
  }
  return objects
}

/**
 * One mask and what is measured of it, or `null` where a filter leaves it out. The event loop turns between native calls.
 */
async function keptMask(
  decoder: Decoder,
  decoded: Decoded,
  row: number,
  options: CheckedEverything,
  isWhole: (bbox: BoundingBox) => boolean,
): Promise<KeptMask | null> {
  const predictedIou = decoded.iou[row]!
  const agreement = options.semantic === 'trained' ? decoded.agreement[row]! : null
  if (options.predIouThresh > 0 && !(predictedIou > options.predIouThresh)) return null
  if (agreement !== null && (2 * agreement) / (1 + agreement) < options.diceThresh) return null
  const { area, bbox } = decoded.masks.stats(row)
  await setImmediate()
  if (!bbox || !isWhole(bbox)) return null
  const stabilityScore = await stabilityOf(decoder, decoded, row, options.stabilityScoreOffset)
  if (stabilityScore < options.stabilityScoreThresh) return null
  const counts = decoded.masks.rle(row)
  await setImmediate()
  return { counts, area, bbox, predictedIou, stabilityScore, agreement }
}

/**
 * IoU of the masks at the threshold shifted up and down, at the size of the image. One holds the other, so that it is
 * the share of their areas; 0 where nothing is above the lower threshold.
 */
async function stabilityOf(decoder: Decoder, { logits }: Decoded, row: number, offset: number): Promise<number> {
  const { width, height, maskSize, imageSize, resizeMode } = decoder
  const low = logits.slice(row * maskSize ** 2, (row + 1) * maskSize ** 2)
  const areaAbove = async (threshold: number) => {
    const area = addon().upscaledArea(low, maskSize, width, height, imageSize, resizeMode, threshold)
    await setImmediate()
    return area
  }
  const union = await areaAbove(-offset)
  return union === 0 ? 0 : (await areaAbove(offset)) / union
}

/** An object of a crop, at its place in the image. */
function placed(
  { counts, names, ...fields }: NamedMask,
  { x, y, width, height, layer }: Crop,
  image: Size,
): FoundObject {
  const { label, labelReason, candidates } = names
  const cropBox: BoundingBox = [x, y, x + width - 1, y + height - 1]
  const known = { ...fields, label, labelReason, candidates, cropBox }
  if (layer === 0) return new FoundObject(image, counts, known)
  const inCrop = addon().decodeRle(counts, width, height)
  const pixels = new Uint8Array(image.width * image.height)
  for (let row = 0; row < height; row++) {
    pixels.set(inCrop.subarray(row * width, (row + 1) * width), (y + row) * image.width + x)
  }
  const [x0, y0, x1, y1] = fields.bbox
  return new FoundObject(image, addon().encodeRle(pixels, image.width, image.height), {
    ...known,
    bbox: [x0 + x, y0 + y, x1 + x, y1 + y],
    point: { x: fields.point.x + x, y: fields.point.y + y },
  })
}
