import { readImageNode } from '@itk-wasm/image-io'
import { expect } from 'vitest'
import type { Volume, VolumeSegment } from '../lib/index.js'

/**
 * Whether ITK finds in a label map, NIfTI or NRRD, the n-th segment as the value n, where the volume is in the patient.
 * Segments that overlap lie in several label maps: the fourth dimension of NIfTI, the components of NRRD.
 */
export async function expectLabelsByItk(
  file: string,
  volume: Volume,
  segments: readonly Pick<VolumeSegment, 'mask'>[],
): Promise<void> {
  const image = await readImageNode(file)
  const { origin, spacing, direction, data, imageType } = image
  const { shape, affine } = volume
  const { dimension, components } = imageType
  expect(image.size.slice(0, 3)).toEqual([...shape])
  const steps = [0, 1, 2].map((row) => [0, 1, 2].map((axis) => direction[dimension * row + axis]! * spacing[axis]!))
  for (const [row, values] of steps.entries()) {
    for (const [axis, value] of values.entries()) expect(value).toBeCloseTo(affine[4 * row + axis]!, 4)
    expect(origin[row]).toBeCloseTo(affine[4 * row + 3]!, 3)
  }
  const voxels = shape[0] * shape[1] * shape[2]
  const layers = (image.size[3] ?? 1) * components
  expect(data).toHaveLength(voxels * layers)
  const valueAt = (voxel: number, layer: number) =>
    components > 1 ? data[voxel * components + layer] : data[voxel + layer * voxels]
  const found = segments.map(() => new Uint8Array(voxels))
  for (let layer = 0; layer < layers; layer++) {
    for (let voxel = 0; voxel < voxels; voxel++) {
      const value = valueAt(voxel, layer)!
      if (value > 0) found[value - 1]![voxel] = 1
    }
  }
  for (const [s, { mask }] of segments.entries()) expect(Buffer.compare(found[s]!, mask.toVolume())).toBe(0)
}
