import type { Ring } from '../mask.js'

/** A ring in the coordinates of files for pictures: (0, 0) is the corner of the image, not the centre of its first pixel. */
export function corners(ring: Ring): Ring {
  return ring.map(([x, y]) => [x + 0.5, y + 0.5])
}
