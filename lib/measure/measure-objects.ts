import { checkImageSegmentation, type ImageObject, type ImageSegmentation } from '../image-segmentation.js'
import type { Mask } from '../mask.js'
import { axesOf, type PlanePoint } from './axes.js'
import { type Intensity, intensityOf } from './intensity.js'
import { edgeMiddles } from './outline.js'

/** One object of an image, measured in pixels and, where the image has `spacing`, in mm. */
export interface ObjectMeasurement {
  name: string
  class: { id: string; name: string } | null
  probability: number | null
  predictedIou: number | null
  /** Number of pixels. */
  area: number
  /** Diameters in pixels; `null` for an object without pixels. */
  axes: ObjectAxes | null
  /** `null` for images in colour, and for an object without pixels. */
  intensity: Intensity | null
  /** Mean of the pixels' places; `null` for an object without pixels. */
  centroid: PlanePoint | null
  /** In mm² and mm; `null` where the size of a pixel is not known. The long axis may be another one where pixels are not square. */
  physical: { area: number; axes: ObjectAxes | null } | null
}

export interface ObjectAxes {
  /** The largest distance between two points of the outline, which need not lie in one piece. */
  long: number
  /** The longest chord of the convex hull at right angles to the long axis. */
  short: number
  /** The ends of the long axis, in pixels. */
  ends: readonly [PlanePoint, PlanePoint]
}

/**
 * Measures each object of an image, as `measure` does it for the segments of a volume. An object without pixels has an area
 * of 0, and `null` for the rest.
 *
 * @throws SegSamError `INVALID_ARGUMENT`, `INVALID_IMAGE`
 */
export function measureObjects(segmentation: ImageSegmentation): ObjectMeasurement[] {
  checkImageSegmentation(segmentation)
  return segmentation.objects.map((object) => measured(segmentation.image, object))
}

function measured(
  image: ImageSegmentation['image'],
  { name, class: found, probability, predictedIou, mask }: ImageObject,
): ObjectMeasurement {
  const points = edgeMiddles(mask.width, mask.height, (x, y) => mask.data[y * mask.width + x] !== 0)
  const { spacing } = image
  const pixels = pixelsOf(mask)
  const values = () => Float64Array.from(pixels, (at) => image.data[at]!)
  return {
    name,
    class: found && { id: found.id, name: found.name },
    probability,
    predictedIou,
    area: mask.area,
    axes: axesWith(points, [1, 1]),
    intensity: image.channels === 1 && pixels.length > 0 ? intensityOf(values(), null) : null,
    centroid: centreOf(pixels, mask.width),
    physical: spacing ? { area: mask.area * spacing[0] * spacing[1], axes: axesWith(points, spacing) } : null,
  }
}

function pixelsOf({ data, area }: Mask): Uint32Array {
  const pixels = new Uint32Array(area)
  let count = 0
  for (let at = 0; at < data.length; at++) if (data[at]) pixels[count++] = at
  return pixels
}

function centreOf(pixels: Uint32Array, width: number): PlanePoint | null {
  if (pixels.length === 0) return null
  const sums = pixels.reduce<[number, number]>(([x, y], at) => [x + (at % width), y + Math.floor(at / width)], [0, 0])
  return [sums[0] / pixels.length, sums[1] / pixels.length]
}

function axesWith(points: readonly PlanePoint[], [width, height]: readonly [number, number]): ObjectAxes | null {
  if (points.length === 0) return null
  const { long, short, ends } = axesOf(points.map(([x, y]): PlanePoint => [x * width, y * height]))
  const pixelAt = ([x, y]: PlanePoint): PlanePoint => [x / width, y / height]
  return { long, short, ends: [pixelAt(ends[0]), pixelAt(ends[1])] }
}
