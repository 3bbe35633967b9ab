import type { BoundingBox } from '../mask.js'

/**
 * Box non-maximum suppression as torchvision's `nms`: by falling score (the first of equals first), a box is left out
 * where its IoU with one kept before is above the threshold. As in segment-anything the corners are those of the
 * pixel indices, so that a box of one column has no area.
 *
 * @returns places of the boxes kept, by falling score
 */
export function suppressed(boxes: readonly BoundingBox[], scores: readonly number[], threshold: number): number[] {
  const kept: number[] = []
  for (const i of [...boxes.keys()].sort((a, b) => scores[b]! - scores[a]!)) {
    if (!kept.some((other) => boxIou(boxes[i]!, boxes[other]!) > threshold)) kept.push(i)
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
