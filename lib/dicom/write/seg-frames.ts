import { SegSamError, unexpected } from '../../errors.js'
import type { VolumeSegment, VolumeSegmentation } from '../../volume/segmentation.js'
import { MAX_PIXEL_BYTES } from './encode.js'
import type { CheckedSegOptions } from './seg-options.js'

/** A frame of a segmentation: a slice, and the number of its segment, from 1; `null` in a label map. */
export interface SegFrame {
  slice: number
  segment: number | null
}

/** Bits of a pixel: 1 of BINARY, 8 of FRACTIONAL, 8 or 16 of LABELMAP. */
export type SegBits = 1 | 8 | 16

export interface SegPixels {
  /** Those that show something, by segment and then by slice. */
  frames: SegFrame[]
  bits: SegBits
  /** Row by row and frame by frame, without gaps, the lowest bit or byte first. */
  bytes: Uint8Array
}

/** Stands for a fraction of 1. */
export const MAX_FRACTION = 255

/** @throws SegSamError `INVALID_ARGUMENT` */
export function segPixels(segmentation: VolumeSegmentation, { type }: CheckedSegOptions): SegPixels {
  if (type === 'LABELMAP') return labelMapPixels(segmentation)
  const { segments } = segmentation
  if (type === 'FRACTIONAL') for (const segment of segments) checkFractions(segment)
  return type === 'BINARY' ? binaryPixels(segmentation) : fractionalPixels(segmentation)
}

/** Whether a voxel is of two segments. */
export function isOverlapping({ volume, segments }: VolumeSegmentation): boolean {
  const taken = new Uint8Array(volume.shape[0] * volume.shape[1] * volume.shape[2])
  for (const { mask } of segments) mask.paint(taken, 1)
  const voxels = taken.reduce((sum, value) => sum + value, 0)
  return voxels < segments.reduce((sum, { mask }) => sum + mask.count, 0)
}

function binaryPixels({ volume, segments }: VolumeSegmentation): SegPixels {
  const [width, height] = volume.shape
  const frames = framesOf(segments, ({ mask }) => mask.data)
  const bytes = allocated(Math.ceil((frames.length * width * height) / 8))
  for (const [at, { segment, slice }] of frames.entries()) {
    eachOfSlice(segments[segment - 1]!, slice, width, (pixel, i, { mask }) => {
      if (!mask.data[i]) return
      const bit = at * width * height + pixel
      bytes[Math.floor(bit / 8)]! |= 1 << (bit % 8)
    })
  }
  return { frames, bits: 1, bytes }
}

function fractionalPixels({ volume, segments }: VolumeSegmentation): SegPixels {
  const [width, height] = volume.shape
  const coded = segments.map(({ fractions }) =>
    Uint8Array.from(fractions!, (share) => Math.round(share * MAX_FRACTION)),
  )
  const frames = framesOf(segments, (_, s) => coded[s]!)
  const bytes = allocated(frames.length * width * height)
  for (const [at, { segment, slice }] of frames.entries()) {
    const values = coded[segment - 1]!
    eachOfSlice(segments[segment - 1]!, slice, width, (pixel, i) => {
      bytes[at * width * height + pixel] = values[i]!
    })
  }
  if (frames.length > 0) return { frames, bits: 8, bytes }
  throw unexpected(
    'INVALID_ARGUMENT',
    'fractions',
    'all below 1/510',
    'at least one above',
    'There is nothing to write.',
  )
}

function labelMapPixels(segmentation: VolumeSegmentation): SegPixels {
  const { volume, segments } = segmentation
  if (isOverlapping(segmentation)) {
    throw new SegSamError(
      'INVALID_ARGUMENT',
      'Segments overlap; allowed in a LABELMAP: one segment a voxel. Write { type: "BINARY" }, or take the overlap away.',
    )
  }
  const [width, height, depth] = volume.shape
  const used = new Set(framesOf(segments, ({ mask }) => mask.data).map(({ slice }) => slice))
  const slices = Array.from({ length: depth }, (_, k) => k).filter((k) => used.has(k))
  const bits = segments.length > 255 ? 16 : 8
  const bytes = allocated((slices.length * width * height * bits) / 8)
  const values = bits === 8 ? bytes : new Uint16Array(bytes.buffer)
  const frameOf = new Map(slices.map((slice, at) => [slice, at]))
  for (const [s, segment] of segments.entries()) {
    const { origin, size } = segment.mask
    for (let slice = origin[2]; slice < origin[2] + size[2]; slice++) {
      const at = frameOf.get(slice)
      if (at === undefined) continue
      eachOfSlice(segment, slice, width, (pixel, i, { mask }) => {
        if (mask.data[i]) values[at * width * height + pixel] = s + 1
      })
    }
  }
  return { frames: slices.map((slice) => ({ slice, segment: null })), bits, bytes }
}

/** Segment by segment the slices where one of its values, which lie as those of its box, is not 0. */
function framesOf(
  segments: readonly VolumeSegment[],
  valuesOf: (segment: VolumeSegment, index: number) => Uint8Array,
): { slice: number; segment: number }[] {
  return segments.flatMap((segment, s) => {
    const { origin, size } = segment.mask
    const values = valuesOf(segment, s)
    const area = size[0] * size[1]
    return Array.from({ length: size[2] }, (_, k) => k)
      .filter((k) => values.subarray(k * area, (k + 1) * area).some((value) => value !== 0))
      .map((k) => ({ slice: origin[2] + k, segment: s + 1 }))
  })
}

/** Every pixel of the box of a segment in one slice: its place in the slice, and in the values of the box. */
function eachOfSlice(
  segment: VolumeSegment,
  slice: number,
  width: number,
  visit: (pixel: number, i: number, segment: VolumeSegment) => void,
): void {
  const { origin, size } = segment.mask
  let i = (slice - origin[2]) * size[0] * size[1]
  for (let y = origin[1]; y < origin[1] + size[1]; y++) {
    for (let x = origin[0]; x < origin[0] + size[0]; x++, i++) visit(y * width + x, i, segment)
  }
}

function allocated(bytes: number): Uint8Array<ArrayBuffer> {
  if (bytes <= MAX_PIXEL_BYTES) return new Uint8Array(bytes)
  throw new SegSamError(
    'INVALID_ARGUMENT',
    `The frames have ${bytes} bytes of pixels; allowed in a DICOM file: ${MAX_PIXEL_BYTES}. Write fewer segments a file.`,
  )
}

function checkFractions({ name, mask, fractions }: VolumeSegment): void {
  if (!fractions) {
    throw unexpected(
      'INVALID_ARGUMENT',
      `fractions of segment ${name}`,
      fractions,
      'a Float32Array of probabilities, which FRACTIONAL writes',
      'Give them, or write { type: "BINARY" }.',
    )
  }
  const voxels = mask.data.length
  if (fractions.length !== voxels || !fractions.every((share) => share >= 0 && share <= 1)) {
    throw unexpected(
      'INVALID_ARGUMENT',
      `fractions of segment ${name}`,
      fractions,
      `${voxels} numbers from 0 to 1, one a voxel of the box of its mask`,
    )
  }
}
