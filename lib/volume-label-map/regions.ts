import { voxelComponents } from '../volume/components.js'
import { millilitresOf } from '../volume/millilitres.js'
import { VoxelMask } from '../volume/voxel-mask.js'
import type { Volume } from '../volume.js'
import type { CheckedConsistency } from './options.js'
import type { LabelValues } from './smooth.js'

/** Regions of a class that must go become `unknown`, in place. */
export function applyRegionRules(
  data: LabelValues,
  volume: Pick<Volume, 'shape' | 'affine'>,
  value: number,
  unknown: number,
  { largestRegion, minMillilitres }: CheckedConsistency,
): void {
  if (!largestRegion && minMillilitres === 0) return
  const mask = VoxelMask.of(volume.shape, data, value)
  const { labels, counts } = voxelComponents(mask)
  const largest = counts.reduce((best, count, i) => (count > counts[best]! ? i : best), 0)
  const stays = counts.map(
    (count, i) => (!largestRegion || i === largest) && millilitresOf(volume, count) >= minMillilitres,
  )
  mask.part((at) => !stays[labels[at]! - 1]).paint(data, unknown)
}

/** The regions of a mask, each as a mask of its own. */
export function regionsOf(mask: VoxelMask): { counts: number[]; of: (index: number) => VoxelMask } {
  const { labels, counts } = voxelComponents(mask)
  return { counts, of: (index) => mask.part((at) => labels[at] === index + 1) }
}
