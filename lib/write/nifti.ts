import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { SegSamError, unexpected } from '../errors.js'
import { checkOptions } from '../options.js'
import { type Affine, cross, dot, norm, scale, stepOf, type Vector } from '../volume/affine.js'
import { checkSegmentation, type VolumeSegmentation } from '../volume/segmentation.js'
import type { Volume } from '../volume.js'
import { bytesOf, type Layers, layersOf, overlappingPair } from './layers.js'

export interface NiftiWriteOptions {
  /** `.nii.gz`; `false`: `.nii`. Default `true`. */
  gzip?: boolean
  /**
   * What to do where segments share voxels, of which a label map can keep one only. `error` (default): nothing is written,
   * and the error names two of them. `layers`: a file of four dimensions, with as few label maps as the overlaps need.
   */
  overlaps?: 'error' | 'layers'
}

const HEADER_BYTES = 352
const MAX_SIDE = 32767
/** DT_UINT8, DT_UINT16 and DT_UINT32, by bytes. */
const DATA_TYPES: Record<number, number> = { 1: 2, 2: 512, 4: 768 }
const INTENT_LABEL = 1002
/** Coordinates of another file, here of the one that was segmented. */
const XFORM_ALIGNED = 2
const UNITS_MM = 2
/** Cosine of the angle between voxel axes up to which a rotation stands for them. */
const ORTHOGONAL = 1e-4

/**
 * A label map as NIfTI-1 (https://nifti.nimh.nih.gov): the n-th segment has the value n, from 1 on, in the smallest
 * unsigned type; 0 is background. The voxels lie as in the volume, and so does the sform; the qform is there where the
 * voxel axes are at right angles, which is all that it can say. See {@link labelTable} for the names.
 *
 * The header is written here, for nifti-reader-js reads only, and the format is one block of 348 bytes.
 *
 * @throws SegSamError `INVALID_ARGUMENT`
 */
export async function toNIfTI(segmentation: VolumeSegmentation, options: NiftiWriteOptions = {}): Promise<Buffer> {
  checkOptions(options, ['gzip', 'overlaps'])
  const { gzip: isPacked = true, overlaps = 'error' } = options
  if (typeof isPacked !== 'boolean') throw unexpected('INVALID_ARGUMENT', 'gzip', isPacked, 'true or false')
  if (overlaps !== 'error' && overlaps !== 'layers') {
    throw unexpected('INVALID_ARGUMENT', 'overlaps', overlaps, "'error' or 'layers'")
  }
  checkSegmentation(segmentation)
  const { volume, segments } = segmentation
  checkSides(volume)
  const layers = layersOf(segments, volume.shape)
  const pair = overlaps === 'error' ? overlappingPair(segments, layers) : undefined
  if (pair) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      `Segments ${pair[0].name} and ${pair[1].name} overlap, and a label map keeps one of them at a voxel. Write several ` +
        "label maps with overlaps: 'layers', or a format that holds overlaps: toSegNRRD.",
    )
  }
  const content = Buffer.concat([headerOf(segmentation, layers), bytesOf(layers)])
  return isPacked ? promisify(gzip)(content) : content
}

/** @throws SegSamError `INVALID_ARGUMENT` for a volume that is too large for the header */
export function checkSides({ shape }: Volume): void {
  if (shape.every((size) => size <= MAX_SIDE)) return
  throw unexpected('INVALID_ARGUMENT', 'the shape of the volume', shape, `at most ${MAX_SIDE} voxels a side`)
}

function headerOf({ volume: { shape, affine, spacing }, model }: VolumeSegmentation, { data }: Layers): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  const bytes = data[0]!.BYTES_PER_ELEMENT
  const sizes = [...shape, data.length]
  header.writeInt32LE(348, 0)
  header.writeInt16LE(data.length === 1 ? 3 : 4, 40)
  for (const [i, size] of [...sizes, 1, 1, 1].entries()) header.writeInt16LE(size, 42 + 2 * i)
  header.writeInt16LE(INTENT_LABEL, 68)
  header.writeInt16LE(DATA_TYPES[bytes]!, 70)
  header.writeInt16LE(8 * bytes, 72)
  for (const [i, step] of [...spacing, 1, 1, 1, 1].entries()) header.writeFloatLE(step, 80 + 4 * i)
  header.writeFloatLE(HEADER_BYTES, 108)
  header.writeFloatLE(1, 112)
  header.writeUInt8(UNITS_MM, 123)
  header.write(`SEG-SAM ${model.name} ${model.version}`.replaceAll(/[^ -~]/g, '?').slice(0, 79), 148, 'latin1')
  writePosition(header, rasOf(affine))
  header.write('n+1\0', 344, 'latin1')
  return header
}

/** NIfTI has x to the right and y to the front. */
function rasOf(affine: Affine): Affine {
  return affine.map((value, i) => (i < 8 ? -value : value))
}

function writePosition(header: Buffer, affine: Affine): void {
  header.writeInt16LE(XFORM_ALIGNED, 254)
  for (let i = 0; i < 12; i++) header.writeFloatLE(affine[i]!, 280 + 4 * i)
  const rotation = rotationOf(affine)
  header.writeFloatLE(rotation?.isMirrored ? -1 : 1, 76)
  if (!rotation) return
  header.writeInt16LE(XFORM_ALIGNED, 252)
  const [, b, c, d] = rotation.quaternion
  for (const [i, value] of [b, c, d, affine[3]!, affine[7]!, affine[11]!].entries()) {
    header.writeFloatLE(value, 256 + 4 * i)
  }
}

/** Method 2 of nifti1.h, the other way; `null` where the voxel axes are not at right angles. */
function rotationOf(affine: Affine): { quaternion: [number, number, number, number]; isMirrored: boolean } | null {
  const [x, y, z] = [0, 1, 2].map((axis) => unit(stepOf(affine, axis))) as [Vector, Vector, Vector]
  const isOrthogonal = [dot(x, y), dot(y, z), dot(z, x)].every((cosine) => Math.abs(cosine) <= ORTHOGONAL)
  if (!isOrthogonal) return null
  const isMirrored = dot(cross(x, y), z) < 0
  return { quaternion: quaternionOf(x, y, isMirrored ? scale(z, -1) : z), isMirrored }
}

function unit(vector: Vector): Vector {
  return scale(vector, 1 / norm(vector))
}

/** Of the rotation with these columns; the largest of the four parts is found first, and the others by it (Shepperd, 1978). */
function quaternionOf(x: Vector, y: Vector, z: Vector): [number, number, number, number] {
  const squares = [1 + x[0] + y[1] + z[2], 1 + x[0] - y[1] - z[2], 1 - x[0] + y[1] - z[2], 1 - x[0] - y[1] + z[2]]
  const largest = squares.indexOf(Math.max(...squares))
  const half = Math.sqrt(squares[largest]!) / 2
  const by = (sum: number) => sum / (4 * half)
  const [zy, xz, yx] = [y[2] - z[1], z[0] - x[2], x[1] - y[0]]
  const [xy, xZ, yZ] = [x[1] + y[0], z[0] + x[2], y[2] + z[1]]
  const parts: [number, number, number, number] = (
    [
      [half, by(zy), by(xz), by(yx)],
      [by(zy), half, by(xy), by(xZ)],
      [by(xz), by(xy), half, by(yZ)],
      [by(yx), by(xZ), by(yZ), half],
    ] as const
  )[largest]!.slice() as [number, number, number, number]
  return parts[0] < 0 ? (parts.map((part) => -part) as [number, number, number, number]) : parts
}
