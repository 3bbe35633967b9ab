import { type BoundingBox, Mask } from '../mask.js'
import type { Box, Point, Prompt } from '../prompts.js'
import type { FollowedSlice } from './followed-slice.js'
import type { CheckedRules } from './options.js'

/** What the next slice is asked for an object, whose mask here is not empty. */
export function carriedPrompt(from: FollowedSlice, rules: CheckedRules): Prompt {
  return {
    box: grownBox(from.bbox!, rules.margin, from),
    ...(rules.carryPoint && { points: [innermostPoint(from.mask)] }),
    ...(rules.carryLogits && { mask: from.logits }),
  }
}

/** The box around pixels, larger by a share of its sides, inside the image. */
export function grownBox(
  [x0, y0, x1, y1]: BoundingBox,
  share: number,
  { width, height }: { width: number; height: number },
): Box {
  const right = share * (x1 - x0 + 1)
  const down = share * (y1 - y0 + 1)
  return [
    Math.max(-0.5, x0 - 0.5 - right),
    Math.max(-0.5, y0 - 0.5 - down),
    Math.min(width - 0.5, x1 + 0.5 + right),
    Math.min(height - 0.5, y1 + 0.5 + down),
  ]
}

/** The pixel of a mask that is farthest from its outline in steps to the 4 neighbours; the first met of several. */
export function innermostPoint(mask: Mask): Point {
  const { width, height, data } = mask
  const [x0, y0, x1, y1] = mask.bbox!
  // One column and row of background around the box, so that every pixel has neighbours.
  const columns = x1 - x0 + 3
  const depths = new Uint32Array(columns * (y1 - y0 + 3))
  const visit = (x: number, y: number, step: -1 | 1) => {
    if (x < 0 || y < 0 || x >= width || y >= height || !data[y * width + x]) return
    const at = (y - y0 + 1) * columns + (x - x0 + 1)
    const nearest = Math.min(depths[at + step]!, depths[at + step * columns]!) + 1
    depths[at] = step < 0 ? nearest : Math.min(depths[at]!, nearest)
  }
  for (let y = y0; y <= y1; y++) for (let x = x0; x <= x1; x++) visit(x, y, -1)
  for (let y = y1; y >= y0; y--) for (let x = x1; x >= x0; x--) visit(x, y, 1)
  const deepest = depths.reduce((best, depth, at) => (depth > depths[best]! ? at : best), 0)
  return { x: x0 - 1 + (deepest % columns), y: y0 - 1 + Math.floor(deepest / columns) }
}

/** The pieces of a mask (8 neighbours) of which a pixel lies upon another mask. */
export function touchingPieces(mask: Mask, other: Mask): Mask {
  const { labels, components } = mask.components()
  const stays = new Uint8Array(components.length + 1)
  for (const [at, label] of labels.entries()) if (other.data[at]) stays[label] = 1
  stays[0] = 0
  if (components.every((_, i) => stays[i + 1])) return mask
  return new Mask(
    mask.width,
    mask.height,
    Uint8Array.from(labels, (label) => stays[label]!),
  )
}
