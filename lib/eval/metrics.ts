import { Mask } from '../mask.js'
import { type Spacing, type SurfaceScores, surfaceScores } from './surface.js'

/** How well a mask agrees with the truth. */
export interface MaskScores extends SurfaceScores {
  dice: number
  iou: number
}

/** In what distances are measured, and how far apart two outlines may be. */
export interface Ruler {
  unit: 'mm' | 'px'
  spacing: Spacing
  /** In the unit. */
  tolerance: number
}

/** Pixels finer than this, in millimetres, are a microscope's: there a tolerance in millimetres says nothing. */
const FINEST_MM = 0.01

/** Millimetres where the spacing is known, else pixels. */
export function rulerFor(spacing: Spacing | null, tolerance: number): Ruler {
  if (!spacing || Math.min(...spacing) < FINEST_MM) return { unit: 'px', spacing: [1, 1], tolerance }
  return { unit: 'mm', spacing, tolerance }
}

/** Both masks have the size of the image. */
export function scoreMask(found: Mask, truth: Mask, { spacing, tolerance }: Ruler): MaskScores {
  const iou = found.iou(truth)
  return { dice: diceOf(iou), iou, ...surfaceScores(truth, found, spacing, tolerance) }
}

/** The Dice coefficient that belongs to an IoU: 1 where both masks are empty. */
export function diceOf(iou: number): number {
  return (2 * iou) / (1 + iou)
}

/**
 * The ellipse that fits into a mask's box: what the box alone is worth, without a look at the image.
 *
 * @param mask not empty
 */
export function ellipseInBox(mask: Mask): Mask {
  const [x0, y0, x1, y1] = mask.bbox!
  const ellipse = new Mask(mask.width, mask.height, new Uint8Array(mask.width * mask.height))
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      const across = (2 * x - x0 - x1) / (x1 - x0 + 1)
      const down = (2 * y - y0 - y1) / (y1 - y0 + 1)
      if (across ** 2 + down ** 2 <= 1) ellipse.data[y * mask.width + x] = 1
    }
  }
  return ellipse
}
