/**
 * Row-major 4 x 4 matrix from voxel index (i, j, k, 1) to patient coordinates in mm, LPS: x to the patient's left, y to the
 * back, z to the head, as DICOM has it (PS3.3 C.7.6.2.1.1). (0, 0, 0) is the centre of the first voxel.
 */
export type Affine = readonly number[]

export type Vector = readonly [number, number, number]

/** The patient position, in mm, of a voxel index, which may lie between voxels. */
export function transform(affine: Affine, [i, j, k]: Vector): Vector {
  const row = (r: number) => affine[r]! * i + affine[r + 1]! * j + affine[r + 2]! * k + affine[r + 3]!
  return [row(0), row(4), row(8)]
}

/** @param columns steps of one voxel along i, j and k, in mm */
export function affineOf([i, j, k]: readonly [Vector, Vector, Vector], origin: Vector): Affine {
  const rows = [0, 1, 2].map((r) => [i[r]!, j[r]!, k[r]!, origin[r]!])
  return [...rows.flat(), 0, 0, 0, 1]
}

/** The step, in mm, of one voxel along an axis: 0 for i, 1 for j, 2 for k. */
export function stepOf(affine: Affine, axis: number): Vector {
  return [affine[axis]!, affine[4 + axis]!, affine[8 + axis]!]
}

export function cross([a, b, c]: Vector, [d, e, f]: Vector): Vector {
  return [b * f - c * e, c * d - a * f, a * e - b * d]
}

export function dot([a, b, c]: Vector, [d, e, f]: Vector): number {
  return a * d + b * e + c * f
}

export function norm(vector: Vector): number {
  return Math.hypot(...vector)
}

export function scale([a, b, c]: Vector, factor: number): Vector {
  return [a * factor, b * factor, c * factor]
}

export function subtract([a, b, c]: Vector, [d, e, f]: Vector): Vector {
  return [a - d, b - e, c - f]
}
