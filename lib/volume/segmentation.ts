import { unexpected } from '../errors.js'
import { type ImageObject, type ObjectDescription, objectsOfHits, objectsOfLabelMap } from '../image-segmentation.js'
import type { LabelMap } from '../label-map.js'
import type { ModelInfo } from '../model.js'
import type { Hit, Scene } from '../scene.js'
import type { Volume, VolumeSlice } from '../volume.js'
import { VoxelMask } from './voxel-mask.js'

/** One object of a volume, or all voxels of a class. Segments may overlap. */
export interface VolumeSegment extends ObjectDescription {
  mask: VoxelMask
  /**
   * How probable it is that a voxel belongs to the object, 0 to 1: one value a voxel of the box of `mask`, in its order.
   * Only a fractional DICOM segmentation has it. Left out where nothing asked for it.
   */
  fractions?: Float32Array
}

/** What was segmented in a volume, and by what: all that the writers of files need. */
export interface VolumeSegmentation {
  volume: Volume
  segments: readonly VolumeSegment[]
  /** What made it. */
  model: Pick<ModelInfo, 'name' | 'version' | 'hash'>
}

/**
 * What `scene.segment` found on one slice, as objects of the volume, one a hit, each one voxel thick.
 *
 * @param scene of the slice: segments then have `fractions`, by the logits of the hits
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function segmentationOfHits(
  volume: Volume,
  slice: Pick<VolumeSlice, 'plane'>,
  hits: readonly (Pick<Hit, 'mask' | 'label' | 'predictedIou'> & Partial<Pick<Hit, 'logits'>>)[],
  model: ModelInfo,
  scene?: Pick<Scene, 'probabilities'>,
): VolumeSegmentation {
  const probabilities =
    scene &&
    ((_: ImageObject, i: number) => {
      const { logits } = hits[i]!
      if (logits) return scene.probabilities(logits)
      throw unexpected('INVALID_ARGUMENT', `the logits of hits[${i}]`, logits, 'those of scene.segment')
    })
  return { volume, segments: segmentsOf(volume, slice, objectsOfHits(hits), probabilities), model }
}

/**
 * A label map of one slice as segments of the volume: one a class, or one an object where the class is countable.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function segmentationOfLabelMap(
  volume: Volume,
  slice: VolumeSlice,
  map: LabelMap,
  model: ModelInfo,
): VolumeSegmentation {
  return { volume, segments: segmentsOf(volume, slice, objectsOfLabelMap(map)), model }
}

/**
 * Objects of a slice as objects of its volume.
 *
 * @param probabilities of an object and its place, each pixel of the slice: segments then have `fractions`
 */
export function segmentsOf(
  { shape }: Volume,
  { plane }: Pick<VolumeSlice, 'plane'>,
  objects: readonly ImageObject[],
  probabilities?: (object: ImageObject, place: number) => Float32Array,
): VolumeSegment[] {
  return objects.map((object, i) => {
    const mask = VoxelMask.ofSlices(shape, [{ plane, mask: object.mask }])
    const fractions = probabilities && mask.valuesInBox([{ plane, values: probabilities(object, i) }])
    return { ...object, mask, ...(fractions && { fractions }) }
  })
}

/** @throws SegSamError `INVALID_ARGUMENT` where there is no segment, one is empty, or one is of another volume */
export function checkSegmentation({ volume, segments }: VolumeSegmentation): void {
  if (segments.length === 0) throw unexpected('INVALID_ARGUMENT', 'segments', segments, 'at least one segment')
  for (const { name, mask } of segments) {
    if (mask.count === 0) {
      throw unexpected('INVALID_ARGUMENT', `the mask of segment ${name}`, 'no voxel', 'at least one', 'Leave it out.')
    }
    if (mask.shape.some((size, axis) => size !== volume.shape[axis])) {
      throw unexpected(
        'INVALID_ARGUMENT',
        `the shape of segment ${name}`,
        mask.shape,
        `that of the volume, ${volume.shape.join(' x ')}`,
      )
    }
  }
}
