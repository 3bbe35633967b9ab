import type { PlanePoint } from './axes.js'

/**
 * The middles of the pixel edges between a shape and what lies beside it, in pixels. Only those at the ends of rows and
 * columns are given, for no other is a corner of the convex hull. None where nothing is set.
 */
export function edgeMiddles(width: number, height: number, isSet: (x: number, y: number) => boolean): PlanePoint[] {
  const points: PlanePoint[] = []
  for (let y = 0; y < height; y++) {
    const [first, last] = ends(width, (x) => isSet(x, y))
    if (last >= 0) points.push([first - 0.5, y], [last + 0.5, y])
  }
  for (let x = 0; x < width; x++) {
    const [first, last] = ends(height, (y) => isSet(x, y))
    if (last >= 0) points.push([x, first - 0.5], [x, last + 0.5])
  }
  return points
}

/** The first and the last that is set; -1 where none is. */
function ends(count: number, isSet: (at: number) => boolean): [number, number] {
  let [first, last] = [0, count - 1]
  while (first < count && !isSet(first)) first++
  while (last >= first && !isSet(last)) last--
  return last < first ? [-1, -1] : [first, last]
}
