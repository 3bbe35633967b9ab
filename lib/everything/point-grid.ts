/**
 * Points at the centres of `perSide` x `perSide` equal cells of the image, row by row: (perSide², 2), x and y in pixels.
 * As segment-anything's `build_point_grid` and its mask generator have them: x is (column + 1/2) / perSide * width.
 */
export function pointGrid(perSide: number, width: number, height: number): Float32Array {
  const points = new Float32Array(2 * perSide * perSide)
  for (let row = 0; row < perSide; row++) {
    for (let column = 0; column < perSide; column++) {
      points.set([((column + 0.5) / perSide) * width, ((row + 0.5) / perSide) * height], 2 * (row * perSide + column))
    }
  }
  return points
}
