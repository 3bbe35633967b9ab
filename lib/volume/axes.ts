import { unexpected } from '../errors.js'
import { type Affine, stepOf, type Vector } from './affine.js'

/**
 * What a slice is perpendicular to. `x`, `y`, `z`: the voxel axes i, j, k, the slice as it lies in memory. `axial`,
 * `coronal`, `sagittal`: the voxel axis nearest to the patient's, turned as radiologists look at it: axial, the patient's
 * left is to the right and the back at the bottom; coronal, left to the right and the head at the top; sagittal, the front
 * to the left and the head at the top.
 */
export type Axis = 'x' | 'y' | 'z' | 'axial' | 'coronal' | 'sagittal'

/** Where the pixels of a slice lie in its volume: pixel (x, y) is the voxel `origin + x * right + y * down`. */
export interface SlicePlane {
  /** Voxel index of the top-left pixel. */
  origin: Vector
  /** Step in voxel indices from a pixel to its right neighbour. */
  right: Vector
  down: Vector
}

/** Directions in LPS of the axis and of right and down on the display; the slice number grows with the voxel index. */
const DISPLAYS = {
  axial: { normal: 2, right: [1, 0, 0], down: [0, 1, 0] },
  coronal: { normal: 1, right: [1, 0, 0], down: [0, 0, -1] },
  sagittal: { normal: 0, right: [0, 1, 0], down: [0, 0, -1] },
} as const

const MEMORY = {
  x: { normal: 0, right: 1, down: 2 },
  y: { normal: 1, right: 0, down: 2 },
  z: { normal: 2, right: 0, down: 1 },
} as const

export const AXES: readonly Axis[] = ['x', 'y', 'z', 'axial', 'coronal', 'sagittal']

/** @throws SegSamError `INVALID_ARGUMENT` */
export function checkAxis(axis: unknown): asserts axis is Axis {
  if (!AXES.includes(axis as Axis)) throw unexpected('INVALID_ARGUMENT', 'axis', axis, AXES.join(', '))
}

/** The voxel axis (0, 1, 2) that slices of an axis are numbered along. */
export function normalOf(affine: Affine, axis: Axis): 0 | 1 | 2 {
  if (axis === 'x' || axis === 'y' || axis === 'z') return MEMORY[axis].normal
  return voxelAxesOf(affine)[DISPLAYS[axis].normal]!
}

export function planeOf(affine: Affine, shape: Vector, axis: Axis, index: number): SlicePlane {
  const origin: [number, number, number] = [0, 0, 0]
  const right: [number, number, number] = [0, 0, 0]
  const down: [number, number, number] = [0, 0, 0]
  origin[normalOf(affine, axis)] = index
  if (axis === 'x' || axis === 'y' || axis === 'z') {
    right[MEMORY[axis].right] = 1
    down[MEMORY[axis].down] = 1
    return { origin, right, down }
  }
  const voxelAxes = voxelAxesOf(affine)
  const display = DISPLAYS[axis]
  for (const [step, wanted] of [
    [right, display.right],
    [down, display.down],
  ] as const) {
    const patientAxis = wanted.findIndex((part) => part !== 0)
    const voxelAxis = voxelAxes[patientAxis]!
    const sign = Math.sign(stepOf(affine, voxelAxis)[patientAxis]! * wanted[patientAxis]!) || 1
    step[voxelAxis] = sign
    if (sign < 0) origin[voxelAxis] = shape[voxelAxis]! - 1
  }
  return { origin, right, down }
}

/** For each patient axis (left, back, head) the voxel axis nearest to it; of all pairings the one that agrees best. */
function voxelAxesOf(affine: Affine): (0 | 1 | 2)[] {
  const pairings = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ] as const
  const agreement = (pairing: readonly number[]) =>
    pairing.reduce((sum, voxelAxis, patientAxis) => {
      const step = stepOf(affine, voxelAxis)
      return sum + Math.abs(step[patientAxis]!) / (Math.hypot(...step) || 1)
    }, 0)
  return [...pairings.reduce((best, pairing) => (agreement(pairing) > agreement(best) + 1e-6 ? pairing : best))]
}
