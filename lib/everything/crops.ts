import { unexpected } from '../errors.js'
import { type MedicalImage, newPixels } from '../image.js'
import type { BoundingBox } from '../mask.js'

interface Size {
  width: number
  height: number
}

/** A part of an image that is encoded on its own: its top left pixel and its size. */
export interface Crop extends Size {
  x: number
  y: number
  /** 0: the image as a whole. The crops of layer n are 2^n along each side. */
  layer: number
}

/** How near to the edge of its crop a box counts as cut off, in pixels. */
const NEAR = 20

/**
 * The image as a whole, then the crops of each layer, column by column. In the first layer they overlap by `overlapRatio`
 * of the image's short side, in each further one by half as much.
 *
 * Source: segment-anything, `utils/amg.py`, `generate_crop_boxes`.
 *
 * @throws SegSamError `INVALID_ARGUMENT` where a crop would be a single pixel or none
 */
export function cropsOf({ width, height }: Size, layers: number, overlapRatio: number): Crop[] {
  const crops = [wholeOf({ width, height })]
  for (let layer = 1; layer <= layers; layer++) {
    const perSide = 2 ** layer
    const overlap = Math.floor(overlapRatio * Math.min(width, height) * (2 / perSide))
    const columns = spans(width, perSide, overlap)
    const rows = spans(height, perSide, overlap)
    for (const [x, right] of columns) {
      for (const [y, bottom] of rows) crops.push({ x, y, width: right - x, height: bottom - y, layer })
    }
    if (crops.some((crop) => crop.width < 1 || crop.height < 1 || crop.width * crop.height < 2)) {
      throw unexpected(
        'INVALID_ARGUMENT',
        'cropNLayers',
        layers,
        `at most ${layer - 1} for an image of ${width} x ${height} pixels`,
        'The crops of a further layer would have less than two pixels.',
      )
    }
  }
  return crops
}

export function wholeOf({ width, height }: Size): Crop {
  return { x: 0, y: 0, width, height, layer: 0 }
}

/** Begin and end of each crop along a side; the last ends with the image. */
function spans(length: number, count: number, overlap: number): [begin: number, end: number][] {
  const span = Math.ceil((overlap * (count - 1) + length) / count)
  return Array.from({ length: count }, (_, i) => {
    const begin = (span - overlap) * i
    return [begin, Math.min(begin + span, length)]
  })
}

/** A copy of the pixels of a crop. */
export function croppedImage({ data, width, channels }: MedicalImage, crop: Crop): MedicalImage {
  const row = crop.width * channels
  const pixels = newPixels(data, crop.height * row)
  for (let y = 0; y < crop.height; y++) {
    const start = ((crop.y + y) * width + crop.x) * channels
    pixels.set(data.subarray(start, start + row), y * row)
  }
  return { data: pixels, width: crop.width, height: crop.height, channels }
}

/**
 * A box within 20 pixels of an edge of its crop that is no edge of the image: its object goes on beyond the crop.
 *
 * Source: segment-anything, `utils/amg.py`, `is_box_near_crop_edge`.
 *
 * @param bbox in pixels of the crop
 */
export function isCutOff(bbox: BoundingBox, { x, y, width, height }: Crop, image: Size): boolean {
  const box = [bbox[0] + x, bbox[1] + y, bbox[2] + x, bbox[3] + y]
  const cropEdges = [x, y, x + width, y + height]
  const imageEdges = [0, 0, image.width, image.height]
  return box.some((at, side) => isNear(at, cropEdges[side]!) && !isNear(at, imageEdges[side]!))
}

function isNear(a: number, b: number): boolean {
  return Math.abs(a - b) <= NEAR
}
