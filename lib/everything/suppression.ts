import { setImmediate } from 'node:timers/promises'
import type { BoundingBox } from '../mask.js'

/** Boxes between two turns of the event loop. */
const BOXES_PER_TURN = 64

/**
 * Box non-maximum suppression as torchvision's `nms`: by falling score (the first of equals first), an object is left out
 * where the IoU of its box with that of one kept before is above the threshold. As in segment-anything the corners are
 * those of the pixel indices, so that a box of one column has no area.
 *
 * @returns the objects kept, by falling score
 */
export async function withoutDuplicates<T extends { bbox: BoundingBox }>(
  objects: readonly T[],
  score: (object: T) => number,
  threshold: number,
): Promise<T[]> {
  const kept: T[] = []
  for (const [i, object] of objects.toSorted((a, b) => score(b) - score(a)).entries()) {
    if (!kept.some((other) => boxIou(object.bbox, other.bbox) > threshold)) kept.push(object)
    if (i % BOXES_PER_TURN === BOXES_PER_TURN - 1) await setImmediate()
  }
  return kept
}

/** NaN, which is above nothing, for two boxes without area. */
function boxIou(a: BoundingBox, b: BoundingBox): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0])
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1])
  const common = Math.max(0, width) * Math.max(0, height)
  return common / (areaOf(a) + areaOf(b) - common)
}

function areaOf([x0, y0, x1, y1]: BoundingBox): number {
  return (x1 - x0) * (y1 - y0)
}
