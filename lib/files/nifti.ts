import { type NIFTI1, type NIFTI2, readHeader } from 'nifti-reader-js'
import { SegSamError, unexpected } from '../errors.js'
import { type Affine, affineOf, type Vector } from '../volume/affine.js'
import { Volume, type VolumeWarning } from '../volume.js'
import { checkSize, damaged } from './limits.js'
import { numbersFrom, physical, type RawType, warningsOfValues, withoutAlpha } from './numbers.js'
import { chosenVolume } from './volume-index.js'

export interface NiftiOptions {
  /** Which volume of a file with more than three dimensions, from 0; required where it has several. */
  index: number | undefined
  maxVoxels: number
}

/** By the `datatype` of the header. */
const TYPES: Record<number, { type: RawType; channels: 1 | 3 | 4 }> = {
  2: { type: Uint8Array, channels: 1 },
  4: { type: Int16Array, channels: 1 },
  8: { type: Int32Array, channels: 1 },
  16: { type: Float32Array, channels: 1 },
  64: { type: Float64Array, channels: 1 },
  128: { type: Uint8Array, channels: 3 },
  256: { type: Int8Array, channels: 1 },
  512: { type: Uint16Array, channels: 1 },
  768: { type: Uint32Array, channels: 1 },
  1024: { type: BigInt64Array, channels: 1 },
  1280: { type: BigUint64Array, channels: 1 },
  2304: { type: Uint8Array, channels: 4 },
}

/** Millimetres of a unit of length, the low three bits of `xyzt_units`; what is unknown counts as mm. */
const MILLIMETRES: Record<number, number> = { 1: 1000, 3: 0.001 }

/**
 * Reads NIfTI-1 or NIfTI-2 (https://nifti.nimh.nih.gov), header and voxels in one file.
 *
 * @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT`, `INVALID_ARGUMENT` (index)
 */
export function readNifti(content: Uint8Array, name: string, { index, maxVoxels }: NiftiOptions): Volume {
  const header = headerOf(content, name)
  const stored = TYPES[header.datatypeCode]
  if (!stored) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} has NIfTI data type ${header.datatypeCode}; allowed: integers to 64 bits, float, double, RGB and RGBA. ` +
        'Convert it first.',
    )
  }
  const sizes = sizesOf(header, name)
  const shape: Vector = [sizes[0]!, sizes[1] ?? 1, sizes[2] ?? 1]
  const channels = stored.channels === 1 ? 1 : 3
  checkSize(name, [...shape, stored.channels], maxVoxels)
  const volumes = sizes.slice(3).reduce((product, size) => product * size, 1)
  const chosen = chosenVolume(index, volumes, name)

  const values = shape[0] * shape[1] * shape[2] * stored.channels
  const bytes = values * stored.type.BYTES_PER_ELEMENT
  const begin = voxelsFrom(header, content, name) + chosen * bytes
  if (begin + bytes > content.length) {
    throw damaged(name, `its voxels take ${bytes} bytes from byte ${begin} on, the file has ${content.length}`)
  }
  const raw = numbersFrom(content.subarray(begin, begin + bytes), stored.type, header.littleEndian)
  const isScaled = stored.channels === 1 && Number.isFinite(header.scl_slope) && header.scl_slope !== 0
  const intercept = Number.isFinite(header.scl_inter) ? header.scl_inter : 0
  const voxels = physical(raw, isScaled ? header.scl_slope : 1, isScaled ? intercept : 0)

  const warnings = warningsOfValues([voxels])
  return new Volume({
    data: stored.channels === 4 ? withoutAlpha(voxels.data as Uint8Array) : voxels.data,
    shape,
    channels,
    affine: affineOfHeader(header, content, name, warnings),
    unit: null,
    modality: null,
    window: header.cal_max > header.cal_min ? { kind: 'linear', low: header.cal_min, high: header.cal_max } : null,
    inverted: false,
    warnings,
    dicom: null,
  })
}

function headerOf(content: Uint8Array, name: string): NIFTI1 | NIFTI2 {
  let header: NIFTI1 | NIFTI2
  try {
    header = readHeader(withoutExtensions(content), true)
  } catch (cause) {
    throw damaged(name, `the header cannot be read (${(cause as Error).message})`)
  }
  if (header.magic.startsWith('ni')) {
    throw new SegSamError(
      'UNSUPPORTED_FORMAT',
      `${name} is the header of a NIfTI pair (.hdr and .img). Convert it to one .nii file first.`,
    )
  }
  return header
}

/** The header alone: a damaged extension keeps nifti-reader-js from its end, and nothing here needs any. */
function withoutExtensions(content: Uint8Array): ArrayBuffer {
  const header = new Uint8Array(544)
  header.set(content.subarray(0, content[0] === 0x5c || content[3] === 0x5c ? 348 : 540))
  return header.buffer
}

/** The byte that the voxels begin at, after the header; 0 stands for right after it, as in nibabel. */
function voxelsFrom({ vox_offset: offset, littleEndian }: NIFTI1 | NIFTI2, content: Uint8Array, name: string): number {
  const least = isSecond(content, littleEndian) ? 544 : 352
  if (offset === 0) return least
  if (Number.isSafeInteger(offset) && offset >= least) return offset
  throw unexpected(
    'INVALID_IMAGE',
    `the offset of the voxels of ${name}`,
    offset,
    `0 or a whole number from ${least} on`,
  )
}

function isSecond(content: Uint8Array, littleEndian: boolean): boolean {
  return new DataView(content.buffer, content.byteOffset, content.byteLength).getInt32(0, littleEndian) === 540
}

function sizesOf({ dims }: NIFTI1 | NIFTI2, name: string): number[] {
  const dimensions = dims[0]!
  if (!(dimensions >= 1 && dimensions <= 7)) {
    throw unexpected('INVALID_IMAGE', `the number of dimensions of ${name}`, dimensions, '1 to 7')
  }
  const sizes = dims.slice(1, dimensions + 1)
  if (sizes.every((size) => Number.isSafeInteger(size) && size > 0)) return sizes
  throw unexpected('INVALID_IMAGE', `the size of ${name}`, sizes.join(' x '), 'whole numbers, at least 1')
}

/** The sform where there is one, else the qform, else voxel sizes alone; NIfTI's RAS becomes LPS. */
function affineOfHeader(header: NIFTI1 | NIFTI2, content: Uint8Array, name: string, warnings: VolumeWarning[]): Affine {
  const millimetres = MILLIMETRES[header.xyzt_units & 7] ?? 1
  const ras =
    header.sform_code > 0 ? sform(header, content) : header.qform_code > 0 ? qform(header) : voxelSizes(header)
  if (header.sform_code <= 0 && header.qform_code <= 0) {
    warnings.push({
      code: 'NO_GEOMETRY',
      message:
        'The file does not say how the patient lies: i is taken to go to the right, j to the front, k to the head.',
    })
  }
  const lps = ras.map((value, i) => (i < 8 ? opposite(value) : value) * (i < 12 ? millimetres : 1))
  if (lps.every(Number.isFinite)) return lps
  throw damaged(name, 'its position in space is not finite')
}

/** Never -0. */
function opposite(value: number): number {
  return value === 0 ? 0 : -value
}

/** Method 3 of nifti1.h; its rows lie at the same place in every file, read here as nifti-reader-js hides them at times. */
function sform({ littleEndian }: NIFTI1 | NIFTI2, content: Uint8Array): number[] {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength)
  const isDouble = isSecond(content, littleEndian)
  const rows = Array.from({ length: 12 }, (_, i) =>
    isDouble ? view.getFloat64(400 + 8 * i, littleEndian) : view.getFloat32(280 + 4 * i, littleEndian),
  )
  return [...rows, 0, 0, 0, 1]
}

/** Method 2 of nifti1.h: a rotation as quaternion, voxel sizes and an offset. */
function qform(header: NIFTI1 | NIFTI2): number[] {
  let { quatern_b: b, quatern_c: c, quatern_d: d } = header
  let a = 1 - (b * b + c * c + d * d)
  if (a < 1e-7) {
    const length = Math.hypot(b, c, d) || 1
    ;[a, b, c, d] = [0, b / length, c / length, d / length]
  } else a = Math.sqrt(a)
  const [qfac, x, y, z] = header.pixDims as [number, number, number, number]
  const flipped = qfac < 0 ? -z : z
  const columns: [Vector, Vector, Vector] = [
    [(a * a + b * b - c * c - d * d) * x, 2 * (b * c + a * d) * x, 2 * (b * d - a * c) * x],
    [2 * (b * c - a * d) * y, (a * a + c * c - b * b - d * d) * y, 2 * (c * d + a * b) * y],
    [2 * (b * d + a * c) * flipped, 2 * (c * d - a * b) * flipped, (a * a + d * d - b * b - c * c) * flipped],
  ]
  return [...affineOf(columns, [header.qoffset_x, header.qoffset_y, header.qoffset_z])]
}

/** Method 1 of nifti1.h. */
function voxelSizes({ pixDims }: NIFTI1 | NIFTI2): number[] {
  const size = (axis: number) => Math.abs(pixDims[axis]!) || 1
  return [
    ...affineOf(
      [
        [size(1), 0, 0],
        [0, size(2), 0],
        [0, 0, size(3)],
      ],
      [0, 0, 0],
    ),
  ]
}
