import type { Polygon, Ring } from '../mask.js'

/**
 * The same region by rings that meet no point twice, as GeoJSON and GIS programs want them. The outline of a region that
 * touches itself at a corner passes this corner twice: there it is divided, and the part within becomes a hole.
 */
export function simplePolygon({ outer, holes }: Polygon): Polygon {
  const rings = [outer, ...holes].flatMap(simpleRings)
  const outermost = rings.reduce((largest, ring) => (signedArea(ring) > signedArea(largest) ? ring : largest))
  return { outer: outermost, holes: rings.filter((ring) => ring !== outermost) }
}

/** Cuts a ring off wherever it comes back to a point. */
function simpleRings(ring: Ring): Ring[] {
  const rings: Ring[] = []
  const path: Ring = []
  const placeOf = new Map<string, number>()
  for (const point of ring) {
    const place = placeOf.get(`${point}`)
    if (place !== undefined) {
      const loop = path.splice(place)
      for (const passed of loop) placeOf.delete(`${passed}`)
      rings.push(loop)
    }
    placeOf.set(`${point}`, path.push(point) - 1)
  }
  return [...rings, path]
}

/** Positive for a ring that runs clockwise on the screen. */
function signedArea(ring: Ring): number {
  return ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length]!
    return sum + x * nextY - nextX * y
  }, 0)
}
