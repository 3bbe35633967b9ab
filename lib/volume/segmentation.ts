import type { ClassCode } from '../classes.js'
import { unexpected } from '../errors.js'
import { classColour } from '../label-map/colours.js'
import { UNKNOWN_ID } from '../label-map/regions.js'
import type { LabelMap } from '../label-map.js'
import type { ModelInfo } from '../model.js'
import type { Hit } from '../scene.js'
import type { Volume, VolumeSlice } from '../volume.js'
import { VoxelMask } from './voxel-mask.js'

/** One object of a volume, or all voxels of a class. Segments may overlap. */
export interface VolumeSegment {
  /** For people, for example `Liver`; where no class is known, `Object 1`. */
  name: string
  /** Its class, from the class card; `null` where the model names none. */
  class: { id: string; name: string; codes: readonly ClassCode[] } | null
  /** Of `class`, 0 to 1, not calibrated; `null` without a class. */
  probability: number | null
  /** The model's estimate of the IoU of the mask with the truth; `null` where there is none. */
  predictedIou: number | null
  /** `#RRGGBB` */
  colour: string
  mask: VoxelMask
  /**
   * How probable it is that a voxel belongs to the object, 0 to 1: one value a voxel of the box of `mask`, in its order.
   * Only a fractional DICOM segmentation has it. Left out where nothing knows it.
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
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function segmentationOfHits(
  volume: Volume,
  slice: VolumeSlice,
  hits: readonly Hit[],
  model: ModelInfo,
): VolumeSegmentation {
  const segments = hits.map((hit, i): VolumeSegment => {
    const { label } = hit
    return {
      name: label?.name ?? `Object ${i + 1}`,
      class: label && { id: label.id, name: label.name, codes: label.codes },
      probability: label?.probability ?? null,
      predictedIou: hit.predictedIou,
      colour: classColour(i + 1, false),
      mask: VoxelMask.ofSlices(volume.shape, [{ plane: slice.plane, mask: hit.mask }]),
    }
  })
  return { volume, segments, model }
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
  const segments = map.classes.flatMap((found): VolumeSegment[] => {
    const isUnknown = found.id === UNKNOWN_ID
    const common = {
      class: isUnknown ? null : { id: found.id, name: found.name, codes: found.codes },
      predictedIou: null,
      colour: classColour(found.value, isUnknown),
    }
    const maskOf = (mask: ReturnType<LabelMap['mask']>) =>
      VoxelMask.ofSlices(volume.shape, [{ plane: slice.plane, mask }])
    if (!found.countable) {
      return [{ ...common, name: found.name, probability: null, mask: maskOf(map.mask(found.value)) }]
    }
    return map.instances
      .filter(({ value }) => value === found.value)
      .map(({ number }, i) => ({
        ...common,
        name: `${found.name} ${i + 1}`,
        probability: null,
        mask: maskOf(map.instanceMask(number)),
      }))
  })
  return { volume, segments, model }
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
