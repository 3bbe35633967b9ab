import type { Polygon, Ring } from '../../mask.js'

/** Bridges lie off the centres and corners of pixels, so that no pixel is decided by one. */
const OFF_CORNER = 0.25

/**
 * One ring for a region with holes: DICOM contours have no holes, so that a channel without width leads to each (PS3.3
 * C.8.8.6.3, the keyhole technique). Each hole is joined to the nearest edge on its left, the holes from left to right.
 *
 * @param polygon along pixel edges, as `mask.toPolygons` gives it
 */
export function keyholed({ outer, holes }: Polygon): Ring {
  const leftOf = (ring: Ring) => ring.reduce((left, [x]) => Math.min(left, x), Number.POSITIVE_INFINITY)
  const fromLeft = holes.map((ring) => ({ ring, left: leftOf(ring) })).sort((a, b) => a.left - b.left)
  return fromLeft.reduce((merged, { ring, left }) => joined(merged, ring, left), outer)
}

function joined(merged: Ring, hole: Ring, left: number): Ring {
  const start = hole.findIndex(([x], at) => x === left && hole[(at + 1) % hole.length]![0] === left)
  const end = (start + 1) % hole.length
  const y = Math.min(hole[start]![1], hole[end]![1]) + OFF_CORNER
  const edge = nearestEdge(merged, left, y)
  const bridge: [number, number] = [merged[edge]![0], y]
  const inner: [number, number] = [left, y]
  const around = [...hole.slice(end), ...hole.slice(0, end)]
  return [...merged.slice(0, edge + 1), bridge, inner, ...around, inner, bridge, ...merged.slice(edge + 1)]
}

/** Where the edge begins that a ray to the left meets first. */
function nearestEdge(ring: Ring, x: number, y: number): number {
  let nearest = -1
  for (const [at, [edgeX, from]] of ring.entries()) {
    const [nextX, to] = ring[(at + 1) % ring.length]!
    const isMet = edgeX === nextX && edgeX < x && from > y !== to > y
    if (isMet && (nearest < 0 || edgeX > ring[nearest]![0])) nearest = at
  }
  return nearest
}
