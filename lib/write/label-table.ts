import type { ClassCode } from '../classes.js'
import { rgbOf } from '../colour.js'
import { checkSegmentation, type VolumeSegmentation } from '../volume/segmentation.js'
import { layersOf } from './layers.js'

/** What the values of a label map stand for. */
export interface LabelTable {
  schema: 1
  /** What made the label map. */
  model: { name: string; version: string; hash: string }
  labels: LabelEntry[]
}

export interface LabelEntry {
  /** Of its voxels, from 1 on; 0 is background. */
  value: number
  /** Which of the label maps of a file of four dimensions, from 0; 0 in a file of three. */
  layer: number
  name: string
  class: { id: string; name: string; codes: readonly ClassCode[] } | null
  probability: number | null
  predictedIou: number | null
  /** `#RRGGBB` */
  colour: string
  voxels: number
}

/**
 * The names of the values that `toNIfTI` writes, for NIfTI has no place for them.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function labelTable(segmentation: VolumeSegmentation): LabelTable {
  checkSegmentation(segmentation)
  const { volume, segments, model } = segmentation
  const { layerOf } = layersOf(segments, volume.shape)
  return {
    schema: 1,
    model: { name: model.name, version: model.version, hash: model.hash },
    labels: segments.map((segment, i) => ({
      value: i + 1,
      layer: layerOf[i]!,
      name: segment.name,
      class: segment.class,
      probability: segment.probability,
      predictedIou: segment.predictedIou,
      colour: segment.colour,
      voxels: segment.mask.count,
    })),
  }
}

/**
 * The same as a label description of ITK-SNAP ("Segmentation > Import Label Descriptions"): value, red, green, blue, opacity,
 * visible, visible in 3D, name.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export function toITKSnapLabels(segmentation: VolumeSegmentation): string {
  checkSegmentation(segmentation)
  const lines = segmentation.segments.map(({ colour, name }, i) => {
    return `${i + 1} ${rgbOf(colour).join(' ')} 1 1 1 "${name.replaceAll(/["\r\n]/g, ' ')}"`
  })
  return ['0 0 0 0 0 0 0 "Clear Label"', ...lines, ''].join('\n')
}
