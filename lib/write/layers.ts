import type { Vector } from '../volume/affine.js'
import type { VolumeSegment } from '../volume/segmentation.js'
import type { VoxelMask } from '../volume/voxel-mask.js'

/** Label values, in the smallest unsigned type that holds them. */
export type LabelData = Uint8Array | Uint16Array | Uint32Array

/** Segments painted into as few volumes as their overlaps need, the n-th with the value n, from 1 on. */
export interface Layers {
  /** One a layer, each of the whole volume, i fastest; 0 is background. */
  data: LabelData[]
  /** For each segment the layer that it lies in, from 0. */
  layerOf: number[]
}

/** Puts each segment into the first layer in which it overlaps no other: one layer where no two overlap. */
export function layersOf(segments: readonly Pick<VolumeSegment, 'mask'>[], shape: Vector): Layers {
  const data: LabelData[] = []
  const layerOf = segments.map(({ mask }, i) => {
    let layer = data.findIndex((values) => firstUnder(mask, values) === 0)
    if (layer < 0) layer = data.push(emptyLayer(shape, segments.length)) - 1
    mask.paint(data[layer]!, i + 1)
    return layer
  })
  return { data, layerOf }
}

/** The first segment that lies upon an earlier one in the same volume, and that one. */
export function overlappingPair<S extends Pick<VolumeSegment, 'mask'>>(
  segments: readonly S[],
  { data, layerOf }: Layers,
): [S, S] | undefined {
  const second = layerOf.findIndex((layer) => layer > 0)
  if (second < 0) return undefined
  return [segments[firstUnder(segments[second]!.mask, data[0]!) - 1]!, segments[second]!]
}

/** The layers one after the other, in the byte order of this machine's processors, the little-endian one of the files. */
export function bytesOf({ data }: Layers): Buffer {
  return Buffer.concat(data.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)))
}

function emptyLayer([width, height, depth]: Vector, highest: number): LabelData {
  const Data = highest < 2 ** 8 ? Uint8Array : highest < 2 ** 16 ? Uint16Array : Uint32Array
  return new Data(width * height * depth)
}

/** A value under the mask that is not 0; 0 where there is none. */
function firstUnder(mask: VoxelMask, data: LabelData): number {
  let found = 0
  mask.forEach((_i, _j, _k, at) => {
    found ||= data[at]!
  })
  return found
}
