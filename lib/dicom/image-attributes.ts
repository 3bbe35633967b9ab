import { SegSamError, unexpected } from '../errors.js'
import { checkSize, damaged } from '../files/limits.js'
import type { DicomDataset } from './dataset.js'

/** How the pixels of a file are laid out (PS3.3 C.7.6.3), checked. */
export interface ImageAttributes {
  rows: number
  columns: number
  frames: number
  /** 1 gray or palette, 3 colour. */
  samples: 1 | 3
  photometric: string
  /** Tag of the pixels: integers, 32-bit floats or 64-bit floats. */
  pixelTag: PixelTag
  bitsAllocated: 1 | 8 | 16 | 32 | 64
  bitsStored: number
  /** Place of the lowest stored bit. */
  shift: number
  isSigned: boolean
  /** Colours of a pixel lie in planes of their own. */
  isPlanar: boolean
}

export type PixelTag = 'x7fe00010' | 'x7fe00008' | 'x7fe00009'

const PHOTOMETRIC = {
  MONOCHROME1: 1,
  MONOCHROME2: 1,
  'PALETTE COLOR': 1,
  RGB: 3,
  YBR_FULL: 3,
  YBR_FULL_422: 3,
  YBR_RCT: 3,
  YBR_ICT: 3,
} as const

/** Whether a file is an image at all; others (reports, plans, structure sets) have no pixels. */
export function hasPixels(dataset: DicomDataset): boolean {
  return pixelTagOf(dataset) !== undefined && dataset.short('x00280010') !== undefined
}

/** @throws SegSamError `INVALID_IMAGE`, `UNSUPPORTED_FORMAT` */
export function imageAttributes(dataset: DicomDataset, name: string, maxVoxels: number): ImageAttributes {
  const pixelTag = pixelTagOf(dataset)
  if (!pixelTag) {
    throw new SegSamError('UNSUPPORTED_FORMAT', `${name} is a DICOM file without pixels. Give a file with an image.`)
  }
  const rows = required(dataset, 'x00280010', 'Rows', name)
  const columns = required(dataset, 'x00280011', 'Columns', name)
  const frames = framesOf(dataset, name)
  const samples = dataset.short('x00280002') ?? 1
  const photometric = dataset.text('x00280004') ?? 'MONOCHROME2'
  checkPhotometric(photometric, samples, name)
  checkSize(name, [columns, rows, frames, samples], maxVoxels)

  const bitsAllocated = required(dataset, 'x00280100', 'Bits Allocated', name)
  const allowed = pixelTag === 'x7fe00010' ? [1, 8, 16, 32] : [pixelTag === 'x7fe00008' ? 32 : 64]
  if (!allowed.includes(bitsAllocated)) {
    throw unexpected('UNSUPPORTED_FORMAT', `Bits Allocated of ${name}`, bitsAllocated, allowed.join(', '))
  }
  const bitsStored = dataset.short('x00280101') ?? bitsAllocated
  const highBit = dataset.short('x00280102') ?? bitsStored - 1
  if (bitsStored < 1 || bitsStored > bitsAllocated || highBit < bitsStored - 1 || highBit >= bitsAllocated) {
    throw damaged(
      name,
      `${bitsStored} bits stored up to bit ${highBit} do not fit into ${bitsAllocated} bits allocated`,
    )
  }
  return {
    rows,
    columns,
    frames,
    samples: samples as 1 | 3,
    photometric,
    pixelTag,
    bitsAllocated: bitsAllocated as ImageAttributes['bitsAllocated'],
    bitsStored,
    shift: highBit + 1 - bitsStored,
    isSigned: dataset.short('x00280103') === 1,
    isPlanar: dataset.short('x00280006') === 1,
  }
}

function pixelTagOf(dataset: DicomDataset): PixelTag | undefined {
  return (['x7fe00010', 'x7fe00008', 'x7fe00009'] as const).find((tag) => dataset.element(tag))
}

function required(dataset: DicomDataset, tag: string, what: string, name: string): number {
  const value = dataset.short(tag)
  if (value === undefined || value === 0) throw damaged(name, `${what} is missing or 0`)
  return value
}

function framesOf(dataset: DicomDataset, name: string): number {
  if (dataset.text('x00280008') === undefined) return 1
  const frames = dataset.decimal('x00280008')
  // Some writers give 0 for a single frame.
  if (frames !== undefined && Number.isSafeInteger(frames) && frames >= 0) return frames || 1
  throw damaged(name, 'Number of Frames is no whole number')
}

function checkPhotometric(photometric: string, samples: number, name: string): void {
  const known = Object.hasOwn(PHOTOMETRIC, photometric)
  if (known && PHOTOMETRIC[photometric as keyof typeof PHOTOMETRIC] === samples) return
  throw new SegSamError(
    'UNSUPPORTED_FORMAT',
    known
      ? `${name} has ${samples} samples a pixel for ${photometric}.`
      : `${name} has a photometric interpretation that is not read; allowed: ${Object.keys(PHOTOMETRIC).join(', ')}.`,
  )
}
