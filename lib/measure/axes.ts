/** A point of a plane, in units of length along two directions at right angles. */
export type PlanePoint = readonly [x: number, y: number]

/** Diameters of a shape in one plane. */
export interface Axes {
  /** Largest distance between two points of its outline. */
  long: number
  /** Longest chord of its convex hull at right angles to the long axis. */
  short: number
  /** The ends of the long axis. */
  ends: readonly [PlanePoint, PlanePoint]
}

/** Lengths that differ by less, as a share, are the same: files have places in the patient to seven digits. */
export const SAME = 1e-6

/**
 * Long and short axis of the points of an outline. Where several long axes are equal, the one with the longest short axis.
 *
 * @param points at least two, not all in one place
 */
export function axesOf(points: readonly PlanePoint[]): Axes {
  const hull = convexHull(points)
  const pairs = hull.flatMap((a, i) => hull.slice(i + 1).map((b) => ({ ends: [a, b] as const, long: distance(a, b) })))
  const longest = pairs.reduce((most, { long }) => Math.max(most, long), 0)
  return pairs
    .filter(({ long }) => long >= longest * (1 - SAME))
    .map((pair) => ({ ...pair, short: longestChordAcross(hull, pair.ends) }))
    .reduce((best, axes) => (axes.short > best.short * (1 + SAME) ? axes : best))
}

function distance([ax, ay]: PlanePoint, [bx, by]: PlanePoint): number {
  return Math.hypot(ax - bx, ay - by)
}

/** Counter-clockwise, without points between others (monotone chain: Andrew, 1979). */
function convexHull(points: readonly PlanePoint[]): PlanePoint[] {
  const sorted = points.toSorted(([ax, ay], [bx, by]) => ax - bx || ay - by)
  const lower = chain(sorted)
  const upper = chain(sorted.toReversed())
  return [...lower.slice(0, -1), ...upper.slice(0, -1)]
}

function chain(sorted: readonly PlanePoint[]): PlanePoint[] {
  const kept: PlanePoint[] = []
  for (const point of sorted) {
    while (kept.length > 1 && turn(kept.at(-2)!, kept.at(-1)!, point) <= 0) kept.pop()
    kept.push(point)
  }
  return kept
}

/** Positive for a turn to the left. */
function turn([ax, ay]: PlanePoint, [bx, by]: PlanePoint, [cx, cy]: PlanePoint): number {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
}

/** Along a line, the length of a chord of a convex shape across it is greatest where a corner lies. */
function longestChordAcross(hull: readonly PlanePoint[], [from, to]: readonly [PlanePoint, PlanePoint]): number {
  const length = distance(from, to)
  const [ux, uy] = [(to[0] - from[0]) / length, (to[1] - from[1]) / length]
  const turned = hull.map(([x, y]): PlanePoint => [x * ux + y * uy, y * ux - x * uy])
  return turned.reduce((longest, [along]) => Math.max(longest, chordAt(turned, along)), 0)
}

function chordAt(hull: readonly PlanePoint[], along: number): number {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const [i, [ax, ay]] of hull.entries()) {
    const [bx, by] = hull[(i + 1) % hull.length]!
    if (along < Math.min(ax, bx) || along > Math.max(ax, bx)) continue
    const crossings = ax === bx ? [ay, by] : [ay + ((along - ax) / (bx - ax)) * (by - ay)]
    low = Math.min(low, ...crossings)
    high = Math.max(high, ...crossings)
  }
  return high - low
}
