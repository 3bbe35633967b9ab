import type { Volume } from '../volume.js'
import { cross, dot, stepOf } from './affine.js'

/** What so many voxels of a volume hold, in ml: by its affine, which is not exact where slices are unevenly spaced. */
export function millilitresOf({ affine }: Pick<Volume, 'affine'>, voxels: number): number {
  const cubicMillimetres = Math.abs(dot(stepOf(affine, 0), cross(stepOf(affine, 1), stepOf(affine, 2))))
  return (voxels * cubicMillimetres) / 1000
}
